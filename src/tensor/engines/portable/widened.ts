import * as tf from '@tensorflow/tfjs-core';
import { fromPacked, halfOf } from '../../halves.js';
import { addressable, memoryOf } from './memory.js';

/** A matrix as float32: itself, or a copy of a 16-bit one, which is the caller's. */
export function widened(x: tf.Tensor2D): tf.Tensor2D {
  const half = halfOf(x);
  if (!half) return x;
  return fromPacked((addressable() ? memoryOf(x) : x.dataSync()) as Int32Array, half);
}

/** `f` of the matrix as float32; what was made for it is free again at once. */
export function onFloats<T extends tf.Tensor>(x: tf.Tensor2D, f: (floats: tf.Tensor2D) => T): T {
  return halfOf(x) ? tf.tidy(() => f(widened(x))) : f(x);
}
