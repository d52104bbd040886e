import * as tf from '@tensorflow/tfjs-core';
import { fusedKernels, native } from '../backend.js';
import { assertShape } from '../shape.js';
import { differentiable } from './custom.js';
import * as raw from './raw.js';

/**
 * Affine map: y = x w + b, plus `residual` where one is given (the residual stream that the map writes to).
 *
 * @param x [N, I] @param w [I, O] @param b [O], none if absent @param residual [N, O]
 * @returns [N, O], differentiable in all arguments
 * @throws UsageError if the shapes do not fit
 */
export function linear(x: tf.Tensor2D, w: tf.Tensor2D, b?: tf.Tensor1D, residual?: tf.Tensor2D): tf.Tensor2D {
  assertShape(x, [null, null], 'linear: x');
  assertShape(w, [x.shape[1], null], 'linear: w');
  if (b) assertShape(b, [w.shape[1]], 'linear: b');
  if (residual) assertShape(residual, [x.shape[0], w.shape[1]], 'linear: residual');
  return differentiable<tf.Tensor2D>(
    [x, w, ...(b ? [b] : []), ...(residual ? [residual] : [])],
    (save) => {
      save([x, w]);
      return product(x, w, b, residual);
    },
    (dy, saved) => {
      const [x, w] = saved as [tf.Tensor2D, tf.Tensor2D];
      return [inputGradient(dy, w), ...weightGradients(x, dy, b !== undefined), ...(residual ? [dy] : [])];
    },
  );
}

/** The forward pass of `linear`, for operations that have a backward pass of their own. */
export function product(
  x: tf.Tensor2D,
  w: tf.Tensor2D,
  b?: tf.Tensor1D,
  residual?: tf.Tensor2D,
): tf.Tensor2D {
  if (fusedKernels()) return fusedMatMul(x, w, { bias: b, residual });
  let y: tf.Tensor2D = native() ? raw.matMul(x, w) : tf.matMul(x, w);
  if (b) y = native() ? raw.plain<tf.Tensor2D>('BiasAdd', y, b) : tf.add(y, b);
  return residual ? tf.add(y, residual) : y;
}

/** The gradient of x w for x: dy wᵀ. @param others gradients that reach x on other ways: added */
export function inputGradient(dy: tf.Tensor2D, w: tf.Tensor2D, others?: tf.Tensor2D): tf.Tensor2D {
  if (fusedKernels()) return fusedMatMul(dy, w, { transposeB: true, residual: others });
  const dx: tf.Tensor2D = native()
    ? raw.batchMatMul(dy, w, false, true)
    : // The portable engines multiply fast only what is not transposed.
      tf.matMul(dy, tf.transpose(w));
  return others ? tf.add(dx, others) : dx;
}

/** The gradients of x w + b for w, xᵀ dy, and with `bias` for b, the sums of the columns of dy. */
export function weightGradients(x: tf.Tensor2D, dy: tf.Tensor2D, bias: boolean): tf.Tensor[] {
  if (fusedKernels())
    return bias
      ? raw.runAll('MinillmWeightGrads', [], [x, dy], 2)
      : [fusedMatMul(x, dy, { transposeA: true })];
  const dw = native() ? raw.matMul(x, dy, true) : tf.matMul(tf.transpose(x), dy);
  return bias ? [dw, columnSums(dy)] : [dw];
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
  options: {
    transposeA?: boolean;
    transposeB?: boolean;
    bias?: tf.Tensor | undefined;
    residual?: tf.Tensor | undefined;
  } = {},
): tf.Tensor2D {
  const { bias, residual } = options;
  const attrs = [
    raw.attr.flag('transpose_a', options.transposeA),
    raw.attr.flag('transpose_b', options.transposeB),
    raw.attr.flag('has_bias', bias),
    raw.attr.flag('has_residual', residual),
  ];
  return raw.run('MinillmMatMul', attrs, [a, b, bias ?? a, residual ?? a]);
}
