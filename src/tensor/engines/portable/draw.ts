import * as tf from '@tensorflow/tfjs-core';

/** Tokens a block of the two-level search holds: small enough to read back, large enough to leave few blocks. */
const BLOCK = 64;

/**
 * Draws one token a row by inversion of the cumulative distribution: the first token at which the running sum
 * exceeds u·Σ. Two levels (sums of blocks of 64, then inside the chosen block), so that V/64 + 64 numbers a row
 * come back from the device instead of V; a full cumulative sum over the vocabulary costs more than the rest of
 * the sampler. Rows need not be normalised. A token of probability zero is never drawn.
 *
 * @param probabilities [B, V], non-negative
 * @param uniforms one number in [0, 1) a row
 */
export function drawTokens(probabilities: tf.Tensor2D, uniforms: ArrayLike<number>): Int32Array {
  const [batch, vocab] = probabilities.shape;
  const blocks = Math.ceil(vocab / BLOCK);
  const tiles = tf.tidy(() => {
    const short = blocks * BLOCK - vocab;
    const padded =
      short === 0
        ? probabilities
        : tf.pad(probabilities, [
            [0, 0],
            [0, short],
          ]);
    return tf.reshape(padded, [batch * blocks, BLOCK]);
  });
  const sums = tf.sum(tiles, 1);
  const sumData = sums.dataSync<'float32'>();
  const rows = new Int32Array(batch);
  const rest = new Float64Array(batch);
  for (let b = 0; b < batch; b++) {
    const row = sumData.subarray(b * blocks, (b + 1) * blocks);
    const found = invert(row, uniforms[b]! * total(row));
    rows[b] = b * blocks + found.index;
    rest[b] = found.rest;
  }
  const chosen = tf.tidy(() => tf.gather(tiles, tf.tensor1d(rows, 'int32')));
  const data = chosen.dataSync<'float32'>();
  tf.dispose([tiles, sums, chosen]);
  const tokens = new Int32Array(batch);
  for (let b = 0; b < batch; b++) {
    const inside = invert(data.subarray(b * BLOCK, (b + 1) * BLOCK), rest[b]!);
    tokens[b] = (rows[b]! - b * blocks) * BLOCK + inside.index;
  }
  return tokens;
}

/** The slow, obvious twin of `drawTokens` on one row of probabilities; the tests hold the two together. */
export function drawTokenReference(probabilities: ArrayLike<number>, uniform: number): number {
  return invert(probabilities, uniform * total(probabilities)).index;
}

/**
 * First index whose running sum exceeds the target, and what is left of the target inside it. Where rounding
 * pushes the target past the end, the last entry of positive weight.
 */
function invert(weights: ArrayLike<number>, target: number): { index: number; rest: number } {
  let before = 0;
  let last = -1;
  let lastBefore = 0;
  for (let i = 0; i < weights.length; i++) {
    const w = weights[i]!;
    if (w <= 0) continue;
    if (before + w > target) return { index: i, rest: target - before };
    last = i;
    lastBefore = before;
    before += w;
  }
  if (last < 0) throw new RangeError('a distribution without mass cannot be sampled');
  return { index: last, rest: target - lastBefore };
}

function total(values: ArrayLike<number>): number {
  let sum = 0;
  for (let i = 0; i < values.length; i++) sum += values[i]!;
  return sum;
}
