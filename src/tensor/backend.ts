import { createRequire } from 'node:module';
import * as tf from '@tensorflow/tfjs-core';
import { UsageError } from '../errors.js';

export const backendNames = ['tensorflow', 'wasm', 'cpu'] as const;
export type BackendName = (typeof backendNames)[number];

/** What was chosen and why, for `doctor`, environment.json and the first line of a run. */
export interface BackendInfo {
  name: BackendName;
  reason: string;
  failures: { name: BackendName; error: string }[];
}

const require = createRequire(import.meta.url);

const loaders: Record<BackendName, () => Promise<void>> = {
  async tensorflow() {
    process.env.TF_CPP_MIN_LOG_LEVEL ??= '3';
    // tfjs-node calls two helpers that Node 23 removed.
    const util = require('node:util') as Record<string, unknown>;
    util.isNullOrUndefined ??= (x: unknown) => x === null || x === undefined;
    util.isArray ??= Array.isArray;
    require('@tensorflow/tfjs-node-gpu');
    await tf.setBackend('tensorflow');
  },
  async wasm() {
    require('@tensorflow/tfjs');
    const wasm = require('@tensorflow/tfjs-backend-wasm') as typeof import('@tensorflow/tfjs-backend-wasm');
    const dist = require.resolve('@tensorflow/tfjs-backend-wasm').replace(/[^/\\]*$/, '');
    wasm.setWasmPaths(dist);
    if (!(await tf.setBackend('wasm'))) throw new Error('the WebAssembly module did not initialise');
  },
  async cpu() {
    require('@tensorflow/tfjs');
    await tf.setBackend('cpu');
  },
};

/** Loads the best backend that works, or exactly the one asked for (then a failure is an error, never a fallback). */
export async function initBackend(options: { backend?: BackendName; threads?: number } = {}): Promise<BackendInfo> {
  if (options.threads !== undefined) {
    process.env.TF_NUM_INTRAOP_THREADS = String(options.threads);
    process.env.TF_NUM_INTEROP_THREADS = '1';
  }
  const failures: BackendInfo['failures'] = [];
  for (const name of options.backend ? [options.backend] : backendNames) {
    try {
      await loaders[name]();
      await tf.ready();
      const reason = options.backend ? 'asked for' : failures.length === 0 ? 'the fastest' : 'the fastest that loads';
      return { name, reason, failures };
    } catch (error) {
      failures.push({ name, error: error instanceof Error ? error.message.split('\n')[0]! : String(error) });
    }
  }
  throw new UsageError(`backend ${failures.map((f) => `${f.name} does not load (${f.error})`).join('; ')}`);
}

/** The part of the native backend that runs any TensorFlow op by name. */
export interface NativeBackend {
  executeSingleOutput(name: string, attrs: unknown[], inputs: tf.TensorInfo[]): tf.Tensor;
  executeMultipleOutputs(name: string, attrs: unknown[], inputs: tf.TensorInfo[], count: number): tf.Tensor[];
}

/** The native backend when it is the active one, else undefined: `const n = native(); if (n) {fast path} else {portable}`. */
export function native(): NativeBackend | undefined {
  return tf.getBackend() === 'tensorflow' ? (tf.backend() as unknown as NativeBackend) : undefined;
}
