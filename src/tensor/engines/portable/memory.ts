import * as tf from '@tensorflow/tfjs-core';

/** The parts of the wasm and cpu backends that give the memory of a tensor itself, not a copy. */
interface HeapBackend {
  typedArrayFromHeap?(info: tf.TensorInfo): Float32Array | Int32Array;
  readSync(dataId: object): Float32Array | Int32Array;
}

/** Whether the numbers of a tensor lie where JavaScript can write them: on wasm and cpu, not behind a native library. */
export function addressable(): boolean {
  const name = tf.getBackend();
  return name === 'wasm' || name === 'cpu';
}

/**
 * The memory of a tensor, to read without a copy or, where `addressable`, to write in place.
 * Use it at once: wasm memory moves when it grows.
 */
export function memoryOf(x: tf.Tensor): Float32Array | Int32Array {
  const backend = tf.backend() as unknown as HeapBackend;
  return backend.typedArrayFromHeap ? backend.typedArrayFromHeap(x) : backend.readSync(x.dataId);
}
