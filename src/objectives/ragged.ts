/**
 * Per-token values of a batch of responses: one array per response, one entry per response token (the first EOS
 * counts), never padded. Everything here that carries no gradient is float64 on such arrays: exact, the same on
 * every backend, and the very code that the oracle enumerates. Only what is differentiated is tensor code.
 */
export type Ragged = readonly ArrayLike<number>[];

/** A new ragged array with f(value, t, row) at every token. */
export function mapTokens(x: Ragged, f: (value: number, t: number, row: number) => number): Float64Array[] {
  return x.map((values, row) => {
    // A plain loop: Float64Array.from with a callback goes through the iterator protocol for every number.
    const result = new Float64Array(values.length);
    for (let t = 0; t < result.length; t++) result[t] = f(values[t]!, t, row);
    return result;
  });
}

/** The same value at every token of a batch shaped like x. */
export function constantLike(x: Ragged, value: number): Float64Array[] {
  return x.map((values) => new Float64Array(values.length).fill(value));
}

/** Number of response tokens of the batch. */
export function countTokens(x: Ragged): number {
  return x.reduce((sum, values) => sum + values.length, 0);
}

/** Length of the longest response; 0 for an empty batch. */
export function longest(x: Ragged): number {
  return x.reduce((most, values) => Math.max(most, values.length), 0);
}

/** All tokens in row order as float32, ready for a tensor of shape [N]: the door between this side and the tape. */
export function flatten(x: Ragged): Float32Array {
  const flat = new Float32Array(countTokens(x));
  let at = 0;
  for (const values of x) {
    flat.set(values, at);
    at += values.length;
  }
  return flat;
}

/** Throws when two ragged arrays do not have one entry for each other's tokens. */
export function assertAligned(a: Ragged, b: Ragged, what: string): void {
  if (a.length !== b.length) throw new RangeError(`${what}: ${b.length} responses, expected ${a.length}`);
  for (let i = 0; i < a.length; i++) {
    if (a[i]!.length !== b[i]!.length) {
      throw new RangeError(`${what} of response ${i}: ${b[i]!.length} tokens, expected ${a[i]!.length}`);
    }
  }
}
