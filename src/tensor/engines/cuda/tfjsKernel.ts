import * as tf from '@tensorflow/tfjs-core';
import { BACKEND, type CudaBackend, type DType } from './backend.js';
import { blocksOf, type DeviceTensor } from './call.js';

/** Threads of a block in tfjs*.cu. */
export const THREADS = 256;

export type Attrs = Record<string, unknown>;

/** One of TensorFlow.js's own operations: inputs by TensorFlow.js's names (or in order, for lists), attributes as it gives them. */
export type TfjsKernel = (
  backend: CudaBackend,
  inputs: Record<string, tf.TensorInfo>,
  attrs: Attrs,
) => tf.TensorInfo | tf.TensorInfo[];

/** Registers operations for the backend `cuda`; their errors name operation, shapes and engine. */
export function registerAll(kernels: Record<string, TfjsKernel>): void {
  for (const [kernelName, kernel] of Object.entries(kernels)) {
    tf.registerKernel({
      kernelName,
      backendName: BACKEND,
      kernelFunc: ({ inputs, backend, attrs }) => {
        const given = inputs as Record<string, tf.TensorInfo>;
        try {
          return kernel(backend as CudaBackend, given, (attrs ?? {}) as Attrs);
        } catch (error) {
          throw describe(kernelName, Object.values(given), error);
        }
      },
    });
  }
}

/** An error in one line, with the kernel and what it was given. */
export function describe(kernel: string, inputs: readonly tf.TensorInfo[], error: unknown): Error {
  const shapes = inputs.map(({ dtype, shape }) => `${dtype === 'float32' ? '' : dtype}[${shape}]`).join(', ');
  const reason = (error instanceof Error ? error.message : String(error)).split('\n')[0];
  return new Error(`cuda: ${kernel}(${shapes}): ${reason}`, { cause: error });
}

/** A result's memory, not initialised; `keep` makes the tensor. */
export function result(backend: CudaBackend, shape: readonly number[], dtype: DType): DeviceTensor {
  const size = tf.util.sizeFromShape([...shape]);
  return { address: backend.allocate(size, dtype), shape, dtype, size };
}

/** Queues a kernel with one thread a number. */
export function launchFlat(
  backend: CudaBackend,
  kernel: string,
  count: number,
  args: readonly number[],
): void {
  if (count > 0) backend.device.launch(kernel, blocksOf(count, THREADS), THREADS, args);
}

/** Frees what one step of an operation left for the next; its memory is given out again only to what is queued later. */
export function drop(backend: CudaBackend, ...infos: tf.TensorInfo[]): void {
  for (const { dataId } of infos) backend.disposeData(dataId);
}

const words = new DataView(new ArrayBuffer(4));

/** A float32's bits as an int32. */
export function bitsOf(value: number): number {
  words.setFloat32(0, value);
  return words.getInt32(0);
}
