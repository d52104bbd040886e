import * as tf from '@tensorflow/tfjs-core';
import { fusedKernels, native } from '../backend.js';
import { assertShape } from '../shape.js';
import { differentiable } from './custom.js';
import * as raw from './raw.js';

/**
 * Affine map: y = x w + b.
 *
 * @param x [N, I] @param w [I, O] @param b [O], none if absent
 * @returns [N, O], differentiable in all arguments
 * @throws UsageError if the shapes do not fit
 */
export function linear(x: tf.Tensor2D, w: tf.Tensor2D, b?: tf.Tensor1D): tf.Tensor2D {
  assertShape(x, [null, null], 'linear: x');
  assertShape(w, [x.shape[1], null], 'linear: w');
  if (b) assertShape(b, [w.shape[1]], 'linear: b');
  if (fusedKernels()) {
    return differentiable<tf.Tensor2D>(
      b ? [x, w, b] : [x, w],
      (save) => {
        save([x, w]);
        return fusedMatMul(x, w, { bias: b });
      },
      (dy, [x, w]) => {
        const grads: tf.Tensor[] = [
          fusedMatMul(dy, w!, { transposeB: true }),
          fusedMatMul(x!, dy, { transposeA: true }),
        ];
        if (b) grads.push(columnSums(dy));
        return grads;
      },
    );
  }
  return differentiable<tf.Tensor2D>(
    b ? [x, w, b] : [x, w],
    (save): tf.Tensor2D => {
      save([x, w]);
      if (!native()) {
        const y: tf.Tensor2D = tf.matMul(x, w);
        return b ? tf.add(y, b) : y;
      }
      const y = raw.matMul(x, w);
      return b ? raw.plain<tf.Tensor2D>('BiasAdd', y, b) : y;
    },
    (dy, saved) => {
      const [x, w] = saved as [tf.Tensor2D, tf.Tensor2D];
      const grads: tf.Tensor[] = native()
        ? [raw.batchMatMul(dy, w, false, true), raw.matMul(x, dy, true)]
        : // The portable engines multiply fast only what is not transposed.
          [tf.matMul(dy, tf.transpose(w)), tf.matMul(tf.transpose(x), dy)];
      if (b) grads.push(columnSums(dy));
      return grads;
    },
  );
}

/**
 * Output head that shares the embedding table: y = x tableᵀ.
 *
 * @param x [N, D] @param table [V, D]
 * @returns [N, V], differentiable in both arguments
 * @throws UsageError if the shapes do not fit
 */
export function unembed(x: tf.Tensor2D, table: tf.Tensor2D): tf.Tensor2D {
  assertShape(x, [null, null], 'unembed: x');
  assertShape(table, [null, x.shape[1]], 'unembed: table');
  if (fusedKernels()) {
    return differentiable<tf.Tensor2D>(
      [x, table],
      (save) => {
        save([x, table]);
        return fusedMatMul(x, table, { transposeB: true });
      },
      (dy, [x, table]) => [fusedMatMul(dy, table!), fusedMatMul(dy, x!, { transposeA: true })],
    );
  }
  return differentiable<tf.Tensor2D>(
    [x, table],
    (save) => {
      save([x, table]);
      return native() ? raw.batchMatMul(x, table, false, true) : tf.matMul(x, tf.transpose(table));
    },
    (dy, saved) => {
      const [x, table] = saved as [tf.Tensor2D, tf.Tensor2D];
      return native()
        ? [raw.matMul(dy, table), raw.matMul(dy, x, true)]
        : // dyᵀ x as (xᵀ dy)ᵀ: what is transposed has D columns or rows, not N·V numbers.
          [tf.matMul(dy, table), tf.transpose(tf.matMul(tf.transpose(x), dy))];
    },
  );
}

/** Σ_n x[n, :], shape [D]. As a product with ones it runs at matrix speed on every engine; a reduction over axis 0 does not. */
export function columnSums(x: tf.Tensor2D): tf.Tensor1D {
  if (fusedKernels()) return raw.run('MinillmColumnSums', [], [x]);
  return tf.reshape(tf.matMul(tf.ones([1, x.shape[0]]), x), [x.shape[1]]);
}

/** Our own matrix product, with the bias in the same pass over the result. */
function fusedMatMul(
  a: tf.Tensor,
  b: tf.Tensor,
  options: { transposeA?: boolean; transposeB?: boolean; bias?: tf.Tensor | undefined } = {},
): tf.Tensor2D {
  const attrs = [
    raw.attr.int('transpose_a', options.transposeA ? 1 : 0),
    raw.attr.int('transpose_b', options.transposeB ? 1 : 0),
  ];
  const none = tf.tensor1d([], 'float32');
  const y = raw.run<tf.Tensor2D>('MinillmMatMul', attrs, [a, b, options.bias ?? none, none]);
  none.dispose();
  return y;
}
