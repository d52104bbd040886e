import { brief, UsageError } from '../errors.js';

/**
 * Refuses a Split or Replace of tokenizer.json without a pattern that is known. The library would print a warning by itself and leave
 * the step out: other tokens, without a word in the place where errors are looked for.
 *
 * @throws UsageError naming the part and its pattern
 */
export function checkPatterns(json: Record<string, unknown>, where: string): void {
  const visit = (node: unknown, part: string): void => {
    if (typeof node !== 'object' || node === null) return;
    const { type, pattern } = node as {
      type?: unknown;
      pattern?: { Regex?: unknown; String?: unknown } | null;
    };
    const known = [pattern?.Regex, pattern?.String].some((text) => typeof text === 'string');
    if ((type === 'Split' || type === 'Replace') && !known)
      throw new UsageError(
        `${where}: ${part}: the pattern of ${type} is ${brief(pattern)}; expected {"Regex": "…"} or {"String": "…"}`,
      );
    for (const [key, child] of Object.entries(node)) visit(child, `${part}.${key}`);
  };
  for (const part of ['normalizer', 'pre_tokenizer', 'decoder']) visit(json[part], part);
}
