import { z } from 'zod';

/** A whole number from 1 up. The limit keeps a hostile file from asking for absurd amounts of memory. */
export function size(limit = 1 << 24) {
  return z.number().int().min(1).max(limit);
}

/** A field that must be absent, null or this value, because another one means another function. */
export function only<T extends string | number | boolean | null>(value: T) {
  return z
    .unknown()
    .optional()
    .transform((found, context) => {
      if ((found ?? value) === value) return value;
      context.addIssue({ code: 'custom', message: `only ${JSON.stringify(value)} is supported` });
      return z.NEVER;
    });
}
