import type { DeviceMemory } from '../../deviceMemory.js';

export type { DeviceMemory };

/**
 * What the CUDA engine needs of a device: memory, launches, matrix products. Two implementations by the same addon interface: a
 * card (addon/cuda.cc), and the processor running the very same kernels block by block for tests (addon/emulator.cc).
 *
 * Everything is queued on one stream in the order of the calls; only `download` and `synchronise` wait.
 */
export interface Device {
  readonly info: DeviceInfo;
  /**
   * What the factors of products are rounded to; sums, results and all else are float32. `float32`: not at all; `tf32`: 10 bits of
   * fraction, where the card has it; `bfloat16`: 7 bits, from copies that take half the memory.
   */
  precision: Precision;
  /** An address of at least `bytes` bytes, aligned to 256. Freed blocks are kept and given out again. */
  alloc(bytes: number): number;
  free(address: number): void;
  /** Told that a kernel wrote over what it was given: copies of those weights are made anew. */
  written(address: number): void;
  upload(address: number, data: Float32Array | Int32Array | Uint8Array): void;
  /** Waits for all that was queued, then fills `data`. */
  download(address: number, data: Float32Array | Int32Array | Uint8Array): void;
  copy(to: number, from: number, bytes: number): void;
  zero(address: number, bytes: number): void;
  /**
   * Queues a kernel by its name in the `.cu` files. Arguments in the order of its parameters: addresses for pointers, numbers for
   * the rest (their types are read from the declaration).
   *
   * @param grid blocks along x, or along x, y, z @param block threads, likewise @param shared bytes of dynamic shared memory
   */
  launch(
    kernel: string,
    grid: number | readonly number[],
    block: number | readonly number[],
    args: readonly number[],
    shared?: number,
  ): void;
  /** Queues y = op(a) op(b) (+ bias on every row) (+ residual), all row-major float32. */
  matMul(product: Product): void;
  synchronise(): void;
  memory(): DeviceMemory;
  /** Gives freed blocks back to the driver. */
  trim(): void;
}

export const precisions = ['float32', 'tf32', 'bfloat16'] as const;
export type Precision = (typeof precisions)[number];

export interface DeviceInfo {
  name: string;
  /** Compute capability, 90 for 9.0; 0 for the emulator. */
  architecture: number;
  multiprocessors: number;
  totalBytes: number;
  /** CUDA's version as the driver gives it, 13000 for 13.0. */
  driver: number;
  emulated: boolean;
}

export interface Product {
  a: number;
  b: number;
  y: number;
  /** y is [rows, columns], the sum runs over `inner`. */
  rows: number;
  columns: number;
  inner: number;
  transposeA?: boolean;
  transposeB?: boolean;
  /** b will be multiplied by again before it changes: the weights of a model. */
  weights?: boolean;
  /** b is bfloat16 as it lies; only in that precision. */
  bfloat16B?: boolean;
  /** Address of [columns]; 0 or absent: none. */
  bias?: number;
  /** Address of [rows, columns]; may be y itself; 0 or absent: none. */
  residual?: number;
  /** Products of `batch` pairs, each this many numbers after the one before. Default 1. */
  batch?: number;
  strideA?: number;
  strideB?: number;
  strideY?: number;
  /** Numbers of y from one row to the next, where it is not the width. */
  leadY?: number;
}
