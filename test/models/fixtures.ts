import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import * as tf from '@tensorflow/tfjs-core';
import { forwardHidden, headLogits, type Model } from '../../src/models/model.js';

export const fixtureDir = fileURLToPath(new URL('../fixtures/models/', import.meta.url));

/** Small checkpoints made by `transformers`, with what it computes for them (test/fixtures/models/make.py). */
export const fixtureNames = [
  'llama-untied',
  'llama-tied',
  'gpt2',
  'opt',
  'opt-post-norm',
  'llama-linear',
  'llama3',
  'mistral',
  'qwen2',
  'qwen3',
  'gpt2-scaled',
  'opt-plain',
] as const;

export interface Expected {
  sequences: number[][];
  logprobs: number[][];
  prompts: number[][];
  greedy: number[][];
}

export interface ExpectedGrads extends Expected {
  loss: number;
  grad_norms: Record<string, number>;
  /** Of model.safetensors as transformers saves the model in half the size. */
  sha256: { f16: string; bf16: string };
}

export function readExpected<T extends Expected>(file: string): T {
  return JSON.parse(readFileSync(`${fixtureDir}${file}`, 'utf8')) as T;
}

/** A real model that lies beside the project in some checkouts; the tests on it are skipped elsewhere. */
export const tinystories = fileURLToPath(new URL('../../../shared/data/tinystories-656k', import.meta.url));
export const tinystoriesAbsent = existsSync(tinystories)
  ? undefined
  : '../shared/data/tinystories-656k is absent';

/** The most probable continuation by full passes over the growing sequence: slow and obvious. */
export function slowGreedy({ params, config }: Model, prompt: readonly number[], count: number): number[] {
  const ids = [...prompt];
  while (ids.length < prompt.length + count) {
    const best = tf.tidy(() => {
      const hidden = forwardHidden(params, config, Int32Array.from(ids), 1, ids.length);
      const last = tf.slice2d(hidden, [ids.length - 1, 0], [1, hidden.shape[1]]);
      return tf.argMax(headLogits(params, config, last), 1);
    });
    ids.push(best.dataSync()[0]!);
    best.dispose();
  }
  return ids.slice(prompt.length);
}

/** The largest absolute difference of two lists of equal length. */
export function maxDifference(a: ArrayLike<number>, b: ArrayLike<number>): number {
  if (a.length !== b.length) return Number.POSITIVE_INFINITY;
  let worst = 0;
  for (let i = 0; i < a.length; i++) {
    const difference = Math.abs(a[i]! - b[i]!);
    if (!(difference <= worst)) worst = difference; // NaN counts as a difference
  }
  return worst;
}
