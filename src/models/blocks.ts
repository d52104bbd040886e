import * as tf from '@tensorflow/tfjs-core';
import { UsageError } from '../errors.js';
import { linear } from '../tensor/ops/index.js';
import type { Params } from '../tensor/params.js';
import type { ParameterSpec } from './config.js';

/** A parameter by name, of the rank that the caller knows it has. */
export function parameter<T extends tf.Tensor>(params: Params, name: string): T {
  const tensor = params[name];
  if (!tensor) throw new UsageError(`the parameters lack ${name}`);
  return tensor as T;
}

/** The linear map `name`, with its bias if the model has one, added to `residual` if there is one. [N, I] to [N, O]. */
export function affine(
  params: Params,
  name: string,
  x: tf.Tensor2D,
  bias: boolean,
  residual?: tf.Tensor2D,
): tf.Tensor2D {
  const b = bias ? parameter<tf.Tensor1D>(params, `${name}.bias`) : undefined;
  return linear(x, parameter(params, `${name}.weight`), b, residual);
}

/** The parameters of a linear map. @param transposed true for nn.Linear, false for GPT-2's Conv1D */
export function affineSpec(
  name: string,
  [from, to]: [number, number],
  options: { bias: boolean; transposed: boolean; std: number },
): Record<string, ParameterSpec> {
  return {
    [`${name}.weight`]: { shape: [from, to], transposed: options.transposed, init: options.std },
    ...(options.bias && { [`${name}.bias`]: { shape: [to], transposed: false, init: 'zeros' as const } }),
  };
}

/**
 * Cosines and sines of the rotary angles (arXiv 2104.09864, eq. 15): angle[n, i] = position[n] · θ^(−2i/Dh).
 * Frequencies and angles are rounded to 32 bits on the way, as in `transformers`: far from the origin the rounding
 * of the angle is larger than the tolerance of the parity tests.
 *
 * @returns cos and sin, each [N, Dh/2]
 */
export function rotaryAngles(
  positions: Int32Array,
  headDim: number,
  theta: number,
): [tf.Tensor2D, tf.Tensor2D] {
  const half = headDim / 2;
  const table = rotaryTable(headDim, theta, positions.reduce((most, p) => Math.max(most, p), 0) + 1);
  const cos = new Float32Array(positions.length * half);
  const sin = new Float32Array(positions.length * half);
  positions.forEach((position, n) => {
    const at = position * half;
    cos.set(table.cos.subarray(at, at + half), n * half);
    sin.set(table.sin.subarray(at, at + half), n * half);
  });
  return [tf.tensor2d(cos, [positions.length, half]), tf.tensor2d(sin, [positions.length, half])];
}

interface RotaryTable {
  rows: number;
  cos: Float32Array;
  sin: Float32Array;
}

// Plain numbers, not tensors, are kept: they belong to no tidy and to no backend.
const tables = new Map<string, RotaryTable>();

function rotaryTable(headDim: number, theta: number, rows: number): RotaryTable {
  const key = `${headDim}/${theta}`;
  const known = tables.get(key);
  if (known && known.rows >= rows) return known;
  const half = headDim / 2;
  const size = Math.max(rows, 2 * (known?.rows ?? 64)); // doubled, so that decoding does not rebuild it at every token
  const table = { rows: size, cos: new Float32Array(size * half), sin: new Float32Array(size * half) };
  const round = Math.fround;
  for (let i = 0; i < half; i++) {
    const frequency = round(1 / round(theta ** round((2 * i) / headDim)));
    for (let position = 0; position < size; position++) {
      const angle = round(position * frequency);
      table.cos[position * half + i] = Math.cos(angle);
      table.sin[position * half + i] = Math.sin(angle);
    }
  }
  tables.set(key, table);
  return table;
}
