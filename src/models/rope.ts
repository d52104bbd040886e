import * as tf from '@tensorflow/tfjs-core';
import { z } from 'zod';
import { brief, UsageError } from '../errors.js';
import { only, size } from './fields.js';

/**
 * How the rotary frequencies are stretched for contexts longer than those of the pre-training, by the names of
 * `transformers`: `linear` divides all by `factor`; `llama3` (LLaMA 3.1) divides the slow ones, keeps the fast ones and
 * blends those between.
 */
export type RopeScaling =
  | { type: 'linear'; factor: number }
  | { type: 'llama3'; factor: number; lowFactor: number; highFactor: number; originalPositions: number };

export interface Rope {
  /** Base of the frequencies, θ. */
  theta: number;
  scaling?: RopeScaling;
}

const settings = z
  .looseObject({
    rope_type: z.string().optional(),
    type: z.string().optional(),
    rope_theta: z.number().positive().optional(),
    partial_rotary_factor: only(1),
    factor: z.number().positive().optional(),
    low_freq_factor: z.number().positive().optional(),
    high_freq_factor: z.number().positive().optional(),
    original_max_position_embeddings: size(1 << 30).optional(),
  })
  .nullish();

/** The fields of config.json that say how positions rotate: `rope_scaling` until transformers 4, `rope_parameters` since 5. */
export const ropeFields = {
  rope_theta: z.number().positive().nullish(),
  rope_scaling: settings,
  rope_parameters: settings,
  partial_rotary_factor: only(1),
  original_max_position_embeddings: size(1 << 30).nullish(),
};

const schema = z.object(ropeFields);

/**
 * @throws UsageError naming the kind of scaling that is not supported (dynamic, yarn, longrope: they give other angles),
 *   or the number that is missing
 */
export function readRope(c: z.output<typeof schema>, where: string): Rope {
  // As transformers 5: the old field counts where a file has both, and an inner theta before the outer one.
  const field = c.rope_scaling ? 'rope_scaling' : 'rope_parameters';
  const found: Partial<NonNullable<z.output<typeof settings>>> = c[field] ?? {};
  const nested = Object.entries(found).find(
    ([, value]) => typeof value === 'object' && !Array.isArray(value) && value,
  );
  if (nested)
    throw new UsageError(
      `${where}: ${field}.${nested[0].slice(0, 80)} is an object; rotary settings for each kind of layer are not supported`,
    );
  const theta = found.rope_theta ?? c.rope_theta ?? 10000;
  const type = found.rope_type ?? found.type ?? 'default';
  const number = (name: 'factor' | 'low_freq_factor' | 'high_freq_factor'): number => {
    const value = found[name];
    if (value === undefined)
      throw new UsageError(`${where}: ${field}.${name} is missing; ${type} scaling needs it`);
    return value;
  };
  if (type === 'default') return { theta };
  if (type === 'linear') return { theta, scaling: { type, factor: number('factor') } };
  if (type !== 'llama3') {
    throw new UsageError(
      `${where}: ${field}.rope_type is ${brief(type)}; only "default", "linear" and "llama3" are supported`,
    );
  }
  const original = c.original_max_position_embeddings ?? found.original_max_position_embeddings;
  if (!original) {
    throw new UsageError(
      `${where}: ${field}.original_max_position_embeddings is missing; llama3 scaling needs it`,
    );
  }
  const [lowFactor, highFactor] = [number('low_freq_factor'), number('high_freq_factor')];
  if (!(lowFactor < highFactor)) {
    throw new UsageError(
      `${where}: ${field}.low_freq_factor is ${lowFactor}, not below high_freq_factor ${highFactor}`,
    );
  }
  return {
    theta,
    scaling: { type, factor: number('factor'), lowFactor, highFactor, originalPositions: original },
  };
}

/**
 * Cosines and sines of the rotary angles (arXiv 2104.09864, eq. 15): angle[n, i] = position[n] · f_i, where
 * f_i = θ^(−2i/Dh), scaled. Frequencies and angles are rounded to 32 bits on the way, as in `transformers`: far from the
 * origin the rounding of the angle is larger than the tolerance of the parity tests.
 *
 * @returns cos and sin, each [N, Dh/2]
 */
export function rotaryAngles(positions: Int32Array, headDim: number, rope: Rope): [tf.Tensor2D, tf.Tensor2D] {
  const half = headDim / 2;
  const table = rotaryTable(headDim, rope, positions.reduce((most, p) => Math.max(most, p), 0) + 1);
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

function rotaryTable(headDim: number, rope: Rope, rows: number): RotaryTable {
  const key = `${headDim}/${JSON.stringify(rope)}`;
  const known = tables.get(key);
  if (known && known.rows >= rows) return known;
  const half = headDim / 2;
  const size = Math.max(rows, 2 * (known?.rows ?? 64)); // doubled, so that decoding does not rebuild it at every token
  const table = { rows: size, cos: new Float32Array(size * half), sin: new Float32Array(size * half) };
  const round = Math.fround;
  for (let i = 0; i < half; i++) {
    const frequency = scaled(round(1 / round(rope.theta ** round((2 * i) / headDim))), rope.scaling);
    for (let position = 0; position < size; position++) {
      const angle = round(position * frequency);
      table.cos[position * half + i] = Math.cos(angle);
      table.sin[position * half + i] = Math.sin(angle);
    }
  }
  tables.set(key, table);
  return table;
}

/** One frequency, scaled. */
function scaled(frequency: number, scaling: RopeScaling | undefined): number {
  const round = Math.fround;
  if (!scaling) return frequency;
  const divided = round(frequency / scaling.factor);
  if (scaling.type === 'linear') return divided;
  const { lowFactor, highFactor, originalPositions } = scaling;
  const wavelength = round((2 * Math.PI) / frequency);
  if (wavelength > originalPositions / lowFactor) return divided;
  if (wavelength < originalPositions / highFactor) return frequency;
  const share = round(round(round(originalPositions / wavelength) - lowFactor) / (highFactor - lowFactor));
  return round(round(round(round(1 - share) * frequency) / scaling.factor) + round(share * frequency));
}
