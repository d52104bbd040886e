/** How cost grows: the power law behind some measurements, and the floating-point operations that a piece of work needs. */
import type { Shape } from '../../src/bench/models.js';

export interface PowerFit {
  /** k of seconds = c · x^k. */
  exponent: number;
  /** c */
  coefficient: number;
  /** Share of the variance of ln seconds that the line explains; 1 where all seconds are equal and so on it. */
  r2: number;
}

/**
 * The power law seconds = c · x^k, by least squares of ln seconds over ln x.
 *
 * @throws Error for fewer than two different x, or values that have no logarithm
 */
export function powerFit(points: readonly { x: number; seconds: number }[]): PowerFit {
  const logs = points.map(({ x, seconds }) => [Math.log(x), Math.log(seconds)] as const);
  if (logs.flat().some((v) => !Number.isFinite(v))) throw new Error('a power law needs positive numbers');
  const mean = (values: number[]): number => values.reduce((a, b) => a + b, 0) / values.length;
  const [mx, my] = [mean(logs.map(([x]) => x)), mean(logs.map(([, y]) => y))];
  const sum = (f: (dx: number, dy: number) => number): number =>
    logs.reduce((total, [x, y]) => total + f(x - mx, y - my), 0);
  const [xx, xy, yy] = [sum((dx) => dx * dx), sum((dx, dy) => dx * dy), sum((_, dy) => dy * dy)];
  if (!(xx > 0)) throw new Error('a power law needs two different quantities');
  const exponent = xy / xx;
  return { exponent, coefficient: Math.exp(my - exponent * mx), r2: yy === 0 ? 1 : (xy * xy) / (xx * yy) };
}

/**
 * Operations of one GPT-2 forward pass over a sequence, a multiplication and an addition counted as two. The products only:
 * the maps of a block (query, key, value D×3D, output D×D, feed-forward D×4D and 4D×D) are 12 D² weights, each used once a
 * token; attention is q·k and p·v over the t slots that token t sees; the head is D·V a predicted token.
 *
 *     24 L D² n + 4 L D · n(n+1)/2 + 2 D V m
 *
 * Norms, activations, softmax and sampling are not counted, nor is work on masked slots.
 *
 * @param read n, tokens that the model reads @param predicted m, positions at which it meets the vocabulary
 */
export function forwardFlops(shape: Omit<Shape, 'heads'>, read: number, predicted: number): number {
  const { layers, hiddenSize, vocabSize } = shape;
  const blocks = 24 * layers * hiddenSize ** 2 * read;
  const attention = 4 * layers * hiddenSize * ((read * (read + 1)) / 2);
  return blocks + attention + 2 * hiddenSize * vocabSize * predicted;
}

/** Sizes of a piece of work. */
export interface WorkSizes {
  batch: number;
  /** Tokens of a prompt (generate). */
  promptLen: number;
  /** Tokens of a response (generate), tokens read (score, sft). */
  length: number;
}

/**
 * Operations of each piece of work, by `forwardFlops`:
 *
 * - score: B sequences, of which T tokens are read and T predicted
 * - sft: three times that, for the backward pass has two products for each of the forward pass; the optimizer is not counted
 * - generate: B sequences, P + R − 1 tokens read once each (keys and values are kept), R predicted
 */
export const workFlops = {
  score: (shape: Shape, { batch, length }: WorkSizes) => batch * forwardFlops(shape, length, length),
  sft: (shape: Shape, { batch, length }: WorkSizes) => 3 * batch * forwardFlops(shape, length, length),
  generate: (shape: Shape, { batch, promptLen, length }: WorkSizes) =>
    batch * forwardFlops(shape, promptLen + length - 1, length),
};
export type ScaledWork = keyof typeof workFlops;
