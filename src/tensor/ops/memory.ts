import * as tf from '@tensorflow/tfjs-core';

/** The parts of the wasm and cpu backends that give the memory of a tensor itself, not a copy. */
interface HeapBackend {
  typedArrayFromHeap?(info: tf.TensorInfo): Float32Array | Int32Array;
  readSync(dataId: object): Float32Array | Int32Array;
}

/**
 * The memory of a tensor on the portable backends (wasm, cpu), to read without a copy or to write in place.
 * Use it at once: wasm memory moves when it grows.
 */
export function memoryOf(x: tf.Tensor): Float32Array | Int32Array {
  const backend = tf.backend() as unknown as HeapBackend;
  return backend.typedArrayFromHeap ? backend.typedArrayFromHeap(x) : backend.readSync(x.dataId);
}
