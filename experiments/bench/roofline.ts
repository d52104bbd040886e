import * as tf from '@tensorflow/tfjs-core';
import { linear } from '../../src/tensor/ops/index.js';

/** [N, I] x [I, O] products that suit the kernel: large, and no side thin. */
const shapes = [
  [1024, 1024, 1024],
  [2048, 1024, 4096],
  [2048, 2048, 2048],
  [4096, 1024, 1024],
] as const;

export interface Roofline {
  /** 10^9 operations a second of the quickest product, a multiplication and an addition counted as two. */
  gflops: number;
  /** N, I, O of that product. */
  shape: readonly [number, number, number];
}

/**
 * The most that our float32 matrix product reaches here: `repeat` runs of every shape, the quickest run of all counts. What
 * consists of products cannot be faster, so it is what other work is measured by.
 */
export function measureRoofline(repeat: number): Roofline {
  const runs = shapes.map((shape): Roofline => {
    const [n, i, o] = shape;
    // Time does not depend on what the numbers are.
    const [x, w] = [tf.fill<tf.Rank.R2>([n, i], 0.01), tf.fill<tf.Rank.R2>([i, o], 0.01)];
    linear(x, w).dispose();
    const seconds = Array.from({ length: repeat }, () => {
      const from = performance.now();
      linear(x, w).dispose(); // the native engine returns when the product is there
      return (performance.now() - from) / 1000;
    });
    tf.dispose([x, w]);
    return { shape, gflops: (2 * n * i * o) / Math.min(...seconds) / 1e9 };
  });
  return runs.reduce((best, run) => (run.gflops > best.gflops ? run : best));
}
