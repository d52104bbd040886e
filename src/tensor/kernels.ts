import * as tf from '@tensorflow/tfjs-core';
import type { DecoderWeights } from './weights.js';

/**
 * The table of kernels: everything that an engine computes for us beyond TensorFlow.js's own operations. An operation in `ops/`
 * is the mathematics, its checks and its gradient, written once on this table; an engine (`engines/`) is one implementation of it.
 *
 * All tensors are float32 but for ids, rows and positions (int32). Where it says "may be of 16 bits" a matrix that does not train may
 * be kept as bfloat16 or float16 (halves.ts); arithmetic and results are those of the float32 matrix of the same numbers. A kernel neither keeps nor disposes its inputs; its results
 * belong to the caller. None is differentiable by itself. Shapes are checked by the operations.
 */
export interface Kernels {
  /** y = op(a) op(b) (+ bias on every row) (+ residual). b may be of 16 bits. */
  matMul(a: tf.Tensor2D, b: tf.Tensor2D, options?: ProductOptions): tf.Tensor2D;
  /** h = gelu(x w + b), and the slope of the GELU there (anything if not `withSlope`). w may be of 16 bits. @returns [N, F] each */
  linearGelu(
    x: tf.Tensor2D,
    w: tf.Tensor2D,
    b: tf.Tensor1D,
    withSlope: boolean,
  ): [h: tf.Tensor2D, slope: tf.Tensor2D];
  /** The gradient of gelu(u) w for u: (dy wᵀ) · slope. w may be of 16 bits. */
  geluLinearGrad(dy: tf.Tensor2D, w: tf.Tensor2D, slope: tf.Tensor2D): tf.Tensor2D;
  /** xᵀ dy, and the sums of the columns of dy. */
  weightGrads(x: tf.Tensor2D, dy: tf.Tensor2D): [dw: tf.Tensor2D, db: tf.Tensor1D];
  /** Σ_n x[n, :]. */
  columnSums(x: tf.Tensor2D): tf.Tensor1D;

  /** y = x sigmoid(2 sqrt(2/π) (x + 0.044715 x³)): GELU, tanh form. */
  gelu(x: tf.Tensor2D): tf.Tensor2D;
  geluGrad(dy: tf.Tensor2D, x: tf.Tensor2D): tf.Tensor2D;
  /** y = gate sigmoid(gate) up. */
  swiglu(gate: tf.Tensor2D, up: tf.Tensor2D): tf.Tensor2D;
  swigluGrad(dy: tf.Tensor2D, gate: tf.Tensor2D, up: tf.Tensor2D): [dGate: tf.Tensor2D, dUp: tf.Tensor2D];
  /** Turns the pairs (x[i], x[i + Dh/2]) of each head by the row's angles; sign −1 turns back. */
  rotary(x: tf.Tensor2D, angles: Angles, heads: number, sign: 1 | -1): tf.Tensor2D;

  /** gain (x − mean) / sqrt(var + eps) + bias. `stats` [N, 2]: mean and inverse deviation. */
  layerNorm(
    x: tf.Tensor2D,
    gain: tf.Tensor1D,
    bias: tf.Tensor1D,
    eps: number,
  ): [y: tf.Tensor2D, stats: tf.Tensor];
  /** @param residual added to dx */
  layerNormGrad(
    dy: tf.Tensor2D,
    x: tf.Tensor2D,
    gain: tf.Tensor1D,
    stats: tf.Tensor,
    residual?: tf.Tensor2D,
  ): [dx: tf.Tensor2D, dGain: tf.Tensor1D, dBias: tf.Tensor1D];
  /** gain x / sqrt(mean x² + eps). `stats` [N]: the inverse root. */
  rmsNorm(x: tf.Tensor2D, gain: tf.Tensor1D, eps: number): [y: tf.Tensor2D, stats: tf.Tensor];
  /** @param residual added to dx */
  rmsNormGrad(
    dy: tf.Tensor2D,
    x: tf.Tensor2D,
    gain: tf.Tensor1D,
    stats: tf.Tensor,
    residual?: tf.Tensor2D,
  ): [dx: tf.Tensor2D, dGain: tf.Tensor1D];

  /** Causal attention (ops/attention.ts). `kept`: what its gradient needs besides inputs and result. */
  attention(parts: AttentionParts, dims: AttentionDims): [o: tf.Tensor2D, kept: tf.Tensor];
  /** The gradients of the parts, as many as there are parts. */
  attentionGrad(
    dy: tf.Tensor2D,
    of: { parts: AttentionParts; o: tf.Tensor2D; kept: tf.Tensor },
    dims: AttentionDims,
  ): tf.Tensor2D[];
  /** Writes k and v of one new token a sequence into the caches, in place, and attends to the slots up to it. */
  decodeAttention(
    q: tf.Tensor2D,
    k: tf.Tensor2D,
    v: tf.Tensor2D,
    cache: { keys: tf.Tensor2D; values: tf.Tensor2D },
    positions: Int32Array,
    dims: { heads: number; kvHeads: number; window: number },
  ): tf.Tensor2D;
  /** One token of every sequence through a whole model up to its last norm; writes to the caches in place. Matrices may be of 16 bits. */
  decode(
    model: DecoderWeights,
    tokens: Int32Array,
    positions: Int32Array,
    cache: { keys: tf.Tensor2D[]; values: tf.Tensor2D[] },
    dims: { heads: number; kvHeads: number },
  ): tf.Tensor2D;

  /** y[n] = x[rows[n]], float32; x may be of 16 bits. An index out of range is an error, or on a card undefined: callers check. */
  gatherRows(x: tf.Tensor2D, rows: tf.Tensor1D): tf.Tensor2D;
  /** The rows of dy with equal index added up, [count, D]. */
  gatherRowsGrad(dy: tf.Tensor2D, rows: tf.Tensor1D, count: number): tf.Tensor2D;
  /** buffer[rows[n]] = values[n] in place; the result is another handle on the buffer. */
  writeRows(buffer: tf.Tensor2D, rows: Int32Array, values: tf.Tensor2D): tf.Tensor2D;
  /**
   * Where in this process's memory the numbers of each tensor lie, for who reads and writes them there before anything else happens
   * to the tensors; undefined where they lie elsewhere, or one has its memory from another (a clone).
   */
  addresses(xs: tf.Tensor[]): number[] | undefined;

  /** ln softmax(logits[n])[ids[n]]. */
  tokenLogprob(logits: tf.Tensor2D, ids: tf.Tensor1D): Kept;
  tokenLogprobGrad(dy: tf.Tensor1D, kept: tf.Tensor[]): tf.Tensor2D;
  /** The same from the states before the head, without the matrix of logits. The head may be of 16 bits. @param budget logits held at once */
  headLogprob(states: tf.Tensor2D, head: Head, ids: tf.Tensor1D, budget: number): tf.Tensor1D;
  /** A divergence of each row of logits (ops/divergences.ts). @param chunk logits worked on at a time, where that matters */
  divergence(kind: DivergenceKind, student: tf.Tensor2D, teacher: tf.Tensor2D, chunk?: number): Kept;
  /** For the student's logits. */
  divergenceGrad(kind: DivergenceKind, dy: tf.Tensor1D, kept: tf.Tensor[], chunk?: number): tf.Tensor2D;
  /** a KL(p‖m) + b KL(q‖m), m = c p + (1 − c) q; or the total variation distance (ops/divergencesMixed.ts). */
  mixture(of: MixtureKind, student: tf.Tensor2D, teacher: tf.Tensor2D, chunk?: number): Kept;
  mixtureGrad(of: MixtureKind, dy: tf.Tensor1D, kept: tf.Tensor[], chunk?: number): tf.Tensor2D;

  /**
   * Draws a token of every row and records what a policy gradient needs (rollout/nextToken.ts).
   *
   * @param edits what is done to logits before the draw, and to no record of q and p
   * @returns seven rows of B numbers: token (−1: no mass), ln q, entropy of q, ln of the probability of what was drawn, ln p,
   *   KL(q‖p) (both 0 without a teacher), Σ q²
   */
  sample(
    student: tf.Tensor2D,
    teacher: tf.Tensor2D | undefined,
    uniforms: ArrayLike<number>,
    settings: SampleSettings,
    edits?: LogitEdits,
  ): Float32Array;

  /** Σ x² over all tensors, a scalar. */
  squaredNorm(xs: tf.Tensor[]): tf.Tensor;
  /** totals + weight · xs, one by one. */
  addScaled(totals: tf.Tensor[], xs: tf.Tensor[], weight: number): tf.Tensor[];
  /**
   * One AdamW update of all parameters (optim/adamw.ts). Consumes params, first and second, and returns the tensors that hold
   * the new values: those that were given where their memory is nobody else's.
   */
  adamW(state: AdamWTensors, grads: tf.Tensor[], numbers: AdamWNumbers): AdamWTensors;
}

export interface ProductOptions {
  transposeA?: boolean;
  transposeB?: boolean;
  /** [O] */
  bias?: tf.Tensor1D | undefined;
  /** [N, O] */
  residual?: tf.Tensor2D | undefined;
}

/** A result, and what its gradient needs: tensors of the engine's own choice, inputs among them. */
export type Kept = [y: tf.Tensor1D, kept: tf.Tensor[]];

/** Cosines and sines, [N, Dh/2] each. */
export type Angles = [cos: tf.Tensor2D, sin: tf.Tensor2D];

/** Queries, keys and values; or all of them side by side in one matrix [B·T, (H + 2 Hkv)·Dh], as one linear map makes them. */
export type AttentionParts = [q: tf.Tensor2D, k: tf.Tensor2D, v: tf.Tensor2D] | [qkv: tf.Tensor2D];

export interface AttentionDims {
  batch: number;
  /** Slots of each sequence, T. */
  length: number;
  /** Query heads, H. */
  heads: number;
  /** Key/value heads, Hkv; query head h reads key/value head floor(h · Hkv / H). */
  kvHeads: number;
  headDim: number;
  /** How many slots back a query looks, its own included (Mistral, arXiv 2310.06825, section 2); 0 or absent: all. */
  window?: number;
}

/** An output head: [D, V], or tied to the embedding table, [V, D]. */
export interface Head {
  weight: tf.Tensor2D;
  tied: boolean;
}

export type DivergenceKind = 'reverseKl' | 'forwardKl' | 'crossEntropy';

export type MixtureKind = { a: number; b: number; c: number } | 'totalVariation';

export interface SampleSettings {
  temperature: number;
  /** Share of the teacher in the mixture. */
  alpha: number;
  topK: number;
  topP: number;
  /** Share of the likeliest token's probability that a token needs; 0 keeps all. */
  minP: number;
  greedy: boolean;
  /** Ids from here on are left out of both. */
  vocab: number;
}

/** The factor of a token that must not be drawn. */
export const NEVER = Number.POSITIVE_INFINITY;

/**
 * Changes of single logits of student and teacher before temperature, mixture and cuts: a logit x > 0 becomes x / factor, another
 * x · factor, and −∞ with `NEVER`. Row b has the entries from starts[b] to starts[b + 1]; no id twice in a row, all below `vocab`.
 */
export interface LogitEdits {
  /** [B + 1] */
  starts: Int32Array;
  ids: Int32Array;
  /** Positive. */
  factors: Float32Array;
}

export interface AdamWTensors {
  params: tf.Tensor[];
  first: tf.Tensor[];
  second: tf.Tensor[];
}

export interface AdamWNumbers {
  /** What each parameter is multiplied by before it is subtracted from itself: learning rate · weight decay, or 0. */
  decay: number[];
  /** What gradients are multiplied by first: clipping. */
  gradScale: number;
  /** The learning rate times the bias correction's `scale`. */
  stepSize: number;
  beta1: number;
  beta2: number;
  /** Epsilon times the bias correction's `root`. */
  epsilon: number;
}

interface Engine {
  name: string;
  kernels: Kernels;
}

const engines = new Map<string, Engine>();
let portable: Engine | undefined;
let forced: Engine | undefined;

/** Says which engine serves a TensorFlow.js backend; without one the portable engine does. */
export function serve(backend: string, name: string, kernels: Kernels): void {
  engines.set(backend, { name, kernels });
}

/** The engine of every backend that has none of its own. */
export function serveOthers(name: string, kernels: Kernels): void {
  portable = { name, kernels };
}

function active(): Engine {
  const found = forced ?? engines.get(tf.getBackend()) ?? portable;
  if (!found) throw new Error('no engine: initBackend has not been called');
  return found;
}

/** The kernels of the engine that serves the active backend. */
export function kernels(): Kernels {
  return active().kernels;
}

/** The name of that engine, for reports and benchmarks; no operation asks it. */
export function engineName(): string {
  return active().name;
}

/** For tests: runs `f` on the portable engine, whatever serves the active backend. */
export function onPortable<T>(f: () => T): T {
  const before = forced;
  forced = portable;
  try {
    return f();
  } finally {
    forced = before;
  }
}
