import { UsageError } from '../errors.js';

/**
 * Where the tokens of a padded row stand, from an attention mask as `transformers` writes it: ones under the tokens, which
 * stand together, zeros under padding on the left or right.
 *
 * @param mask undefined: no padding @returns [from, to); [0, 0] where everything is padding
 * @throws UsageError for another length, another value, or a gap
 */
export function tokenSpan(mask: unknown, length: number, where: string): [number, number] {
  if (mask === undefined) return [0, length];
  const bits = ArrayBuffer.isView(mask) ? Array.from(mask as Int32Array) : mask;
  if (!Array.isArray(bits) || bits.length !== length || !bits.every((x) => x === 0 || x === 1))
    throw new UsageError(`${where}: the attention mask must hold ${length} zeros and ones, one for every id`);
  const from = bits.indexOf(1);
  if (from < 0) return [0, 0];
  const to = bits.lastIndexOf(1) + 1;
  if (bits.slice(from, to).includes(0))
    throw new UsageError(
      `${where}: the attention mask has a gap; padding is possible on the left and right only`,
    );
  return [from, to];
}
