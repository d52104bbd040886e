import type * as tf from '@tensorflow/tfjs-core';
import { UsageError } from '../errors.js';
import { shapeOf } from './halves.js';

/**
 * Checks a shape at a public door; of a 16-bit matrix that of the numbers it means. `null` stands for any size.
 *
 * @throws UsageError naming the argument, what was found and what was expected.
 */
export function assertShape(x: tf.Tensor, expected: readonly (number | null)[], name: string): void {
  const shape = shapeOf(x);
  const ok =
    shape.length === expected.length && expected.every((size, axis) => size === null || size === shape[axis]);
  if (ok) return;
  const wanted = expected.map((size) => size ?? 'any').join(', ');
  throw new UsageError(`${name}: shape [${shape.join(', ')}] found, [${wanted}] expected`);
}

/** Checks that a tensor holds integer indices, one for each of `count` rows (any count if null). */
export function assertIndices(x: tf.Tensor, count: number | null, name: string): void {
  assertShape(x, [count], name);
  if (x.dtype !== 'int32') throw new UsageError(`${name}: ${x.dtype} found, int32 indices expected`);
}
