import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import * as tf from '@tensorflow/tfjs-core';
import { UsageError } from '../errors.js';
import { type Precision, precisions } from './engines/cuda/device.js';
import { portableKernels } from './engines/portable/index.js';
import { kernelsCompiled, tensorflowKernels } from './engines/tensorflow/index.js';
import { serve, serveOthers } from './kernels.js';
import {
  ADDON_PATH,
  cudaNote,
  enginePackageNames,
  installedEnginePackages,
  setupCommand,
} from './provision/paths.js';

export const backendNames = ['cuda', 'tensorflow', 'wasm', 'cpu'] as const;
export type BackendName = (typeof backendNames)[number];
export { type Precision, precisions };

/** What was chosen and why, for `doctor`, environment.json and the first line of a run. */
export interface BackendInfo {
  name: BackendName;
  /** Why this one; where a faster one did not load, why not and what mends it. */
  reason: string;
  failures: { name: BackendName; error: string }[];
  /** What does the arithmetic, e.g. `TensorFlow 2.21.0 (@tensorflow/tfjs-node-gpu)`. */
  engine: string;
  /** Threads that one operation may use. WebAssembly in Node and plain JavaScript have one, whatever was asked. */
  threads: number;
  /** Whether a card does it: by our CUDA engine, or in TensorFlow's own device list. */
  gpu: boolean;
}

type Loaded = Pick<BackendInfo, 'engine' | 'threads' | 'gpu'>;

const require = createRequire(import.meta.url);

/** How each backend is loaded, the fastest first (measured: 190, 29 and 0.9 GFLOP/s for a 1024^3 product on 2 cores). */
const loaders: Record<BackendName, (threads: number | undefined, precision?: Precision) => Promise<Loaded>> =
  {
    async cuda(_threads, precision = 'tf32') {
      // The tests' device: the same kernels on the processor, a block's threads in an order drawn by this seed.
      const seed = process.env.MINILLM_CUDA_EMULATOR;
      const { loadCuda } = await import('./engines/cuda/loadCuda.js'); // forty files that other backends do not need
      const { info } = await loadCuda({ ...(seed && { emulated: true, seed: Number(seed) }), precision });
      const version = `${Math.floor(info.driver / 1000)}.${Math.floor((info.driver % 1000) / 10)}`;
      const engine = info.emulated
        ? 'CUDA kernels on the processor (for tests)'
        : `CUDA ${version} on ${info.name}, ${precision}`;
      return { engine, threads: 1, gpu: !info.emulated };
    },
    async tensorflow(threads) {
      requestThreads(threads);
      quietTensorFlow();
      restoreRemovedUtilities();
      // The addon first and by itself: when it does not load, the package has registered nothing yet, and nothing
      // half-loaded is in the way of the next backend.
      const { name, addon } = loadAddon();
      threadsInUse ??= Number(process.env.TF_NUM_INTRAOP_THREADS) || availableParallelism();
      require(name);
      if (!(await tf.setBackend('tensorflow'))) throw new Error('the backend did not initialise');
      if (!addon.isUsingGpuDevice() && process.env.MINILLM_KERNELS !== 'off' && kernelsCompiled())
        serve('tensorflow', 'tensorflow', tensorflowKernels);
      return {
        engine: `TensorFlow ${addon.TF_Version} (${name})`,
        threads: threadsInUse,
        gpu: addon.isUsingGpuDevice(),
      };
    },
    async wasm() {
      require('@tensorflow/tfjs'); // the union registers the gradients, which the core alone does not
      const wasm = require('@tensorflow/tfjs-backend-wasm') as typeof import('@tensorflow/tfjs-backend-wasm');
      wasm.setWasmPaths(require.resolve('@tensorflow/tfjs-backend-wasm').replace(/[^/\\]*$/, ''));
      if (!(await tf.setBackend('wasm'))) throw new Error('the WebAssembly module did not initialise');
      const simd = await tf.env().getAsync('WASM_HAS_SIMD_SUPPORT');
      return {
        engine: `WebAssembly ${simd ? 'with SIMD' : 'without SIMD'} (tfjs ${wasm.version_wasm})`,
        threads: 1,
        gpu: false,
      };
    },
    async cpu() {
      require('@tensorflow/tfjs');
      if (!(await tf.setBackend('cpu'))) throw new Error('the backend did not initialise');
      // Its first tensor would print an advertisement of the native backend.
      (tf.backend() as unknown as { firstUse: boolean }).firstUse = false;
      return { engine: `plain JavaScript (tfjs ${tf.version_core})`, threads: 1, gpu: false };
    },
  };

/** The CUDA engine's own set-up and what `doctor` tells of it; forty files that other backends do not need. */
export const cudaSetup = () => import('./engines/cuda/setupCuda.js');
export const cudaInspection = () => import('./engines/cuda/inspectCuda.js');

/**
 * What is tried unless one is asked for, the fastest first. A card is among them where `setup --gpu` has made its engine complete and
 * the driver lists a card; `MINILLM_CUDA=off` leaves it out.
 */
async function ladder(): Promise<readonly BackendName[]> {
  const processors = backendNames.filter((name) => name !== 'cuda');
  if (process.env.MINILLM_CUDA === 'off' || !existsSync(cudaNote())) return processors;
  return (await cudaInspection()).cardIsThere() ? backendNames : processors;
}

/**
 * Loads the best backend that works, or exactly the one asked for (then a failure is an error, never a fallback).
 *
 * @param options.precision of products on a card: default `tf32`, which is exact enough for training (10 bits of fraction, sums in
 *   float32) and several times as fast; `float32` for comparisons. The other backends have float32 only and do not ask
 * @param options.prefer is tried first, before the others
 * @param options.threads threads of one native operation; TensorFlow reads it once, when it is first loaded
 * @throws UsageError when the backend asked for does not load, or when other threads are asked for after loading
 */
export async function initBackend(
  options: { backend?: BackendName; prefer?: BackendName; threads?: number; precision?: Precision } = {},
): Promise<BackendInfo> {
  const failures: BackendInfo['failures'] = [];
  const { backend, prefer } = options;
  const names = backend ? [backend] : [...new Set([...(prefer ? [prefer] : []), ...(await ladder())])];
  for (const name of names) {
    try {
      const loaded = await loaders[name](options.threads, options.precision);
      await tf.ready();
      active = { name, reason: whyChosen(name, options, failures, loaded), failures, ...loaded };
      return active;
    } catch (error) {
      if (error instanceof UsageError) throw error;
      failures.push({ name, error: firstLine(error) });
    }
  }
  const hint = options.backend ? '; without --backend the fastest that loads is taken' : '';
  throw new UsageError(
    `backend ${failures.map((f) => `${f.name} does not load: ${f.error}`).join('; ')}${hint}`,
  );
}

let active: BackendInfo | undefined;

/** What the last `initBackend` of this process chose. */
export function activeBackend(): BackendInfo | undefined {
  return active;
}

function whyChosen(
  name: BackendName,
  options: { backend?: BackendName; prefer?: BackendName; threads?: number },
  failures: BackendInfo['failures'],
  loaded: Loaded,
): string {
  const { backend, prefer, threads } = options;
  const choice =
    backend !== undefined
      ? 'asked for'
      : prefer === name
        ? 'as before'
        : failures.length > 0
          ? 'the fastest that loads'
          : 'the fastest';
  const notes = failures.map((f) => `${f.name}: ${f.error}`);
  if (name === 'cuda' && backend === undefined)
    notes.unshift('this engine is new; --backend tensorflow computes on the processor');
  else if (backend === undefined && !existsSync(cudaNote()) && existsSync('/dev/nvidiactl'))
    notes.push(`an NVIDIA card is here and not set up ("${setupCommand} --gpu" does it)`);
  if ((threads ?? 1) > loaded.threads) notes.push('it has one thread only');
  return [choice, ...notes].join('; ');
}

interface Addon {
  TF_Version: string;
  isUsingGpuDevice(): boolean;
}

/** The addon of the first native package that is set up. Its path is in the module cache afterwards, for the package itself. */
function loadAddon(): { name: string; addon: Addon } {
  const packages = installedEnginePackages();
  if (packages.length === 0) {
    throw new Error(
      `${enginePackageNames[0]} is not installed (npm install --ignore-scripts ${enginePackageNames[0]}, then ${setupCommand})`,
    );
  }
  const found = packages.find(({ dir }) => existsSync(join(dir, ADDON_PATH)));
  if (!found) throw new Error(`not set up yet ("${setupCommand}" does it)`);
  try {
    return { name: found.name, addon: require(join(found.dir, ADDON_PATH)) as Addon };
  } catch (error) {
    throw new Error(`${firstLine(error)} ("${setupCommand}" sets it up again)`);
  }
}

let threadsInUse: number | undefined;

/** TensorFlow makes its thread pool once per process, from these variables. */
function requestThreads(threads: number | undefined): void {
  if (threads === undefined || threads === threadsInUse) return;
  if (threadsInUse !== undefined) {
    throw new UsageError(
      `TensorFlow runs with ${threadsInUse} threads in this process already; ${threads} need a new process`,
    );
  }
  process.env.TF_NUM_INTRAOP_THREADS = String(threads);
  process.env.TF_NUM_INTEROP_THREADS = '1';
}

function quietTensorFlow(): void {
  process.env.TF_CPP_MIN_LOG_LEVEL ??= '3';
  // Otherwise the first process takes all of a GPU's memory and the second finds none.
  process.env.TF_FORCE_GPU_ALLOW_GROWTH ??= 'true';
}

/** tfjs-node calls two helpers that Node 23 removed and Node 22 warns about. */
function restoreRemovedUtilities(): void {
  const util = require('node:util') as Record<string, unknown>;
  util.isNullOrUndefined = (x: unknown) => x === null || x === undefined;
  util.isArray = Array.isArray;
}

function firstLine(error: unknown): string {
  return (error instanceof Error ? error.message : String(error)).split('\n')[0]!;
}

serveOthers('portable', portableKernels);
