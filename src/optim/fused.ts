import * as tf from '@tensorflow/tfjs-core';
import * as raw from '../tensor/ops/raw.js';

const FLOAT = raw.attr.type('dtype', 'float32');

/**
 * One AdamW update of one parameter in place, by TensorFlow's fused kernel: a single pass over memory instead of a
 * dozen. Native backend only. The same rule as the chain of `adamw`, equal up to rounding.
 *
 * Consumes `param`, `first` and `second`; returns the updated three. Their memory is reused unless somebody else holds
 * an alias of it, then TensorFlow copies first.
 *
 * @param decay rate · learning rate, 0 for none @param stepSize and @param epsilon with Adam's bias corrections inside
 */
export function fusedAdam(
  tensors: { param: tf.Tensor; first: tf.Tensor; second: tf.Tensor },
  grad: tf.Tensor,
  numbers: { decay: number; stepSize: number; beta1: number; beta2: number; epsilon: number },
): { param: tf.Tensor; first: tf.Tensor; second: tf.Tensor } {
  const { decay, stepSize, beta1, beta2, epsilon } = numbers;
  const shrink = decay === 0 ? undefined : tf.mul(tensors.param, decay);
  const variables = [tensors.param, tensors.first, tensors.second].map(intoVariable);
  if (shrink) {
    raw.act('AssignSubVariableOp', [FLOAT], [variables[0]!, shrink]);
    shrink.dispose();
  }
  // TensorFlow would put epsilon before the bias correction, and round 1 − βᵗ to float32: powers of 0 turn its own
  // correction off.
  const scalars = [0, 0, stepSize, beta1, beta2, epsilon].map((x) => tf.scalar(x));
  const attrs = [raw.attr.type('T', 'float32'), raw.attr.bool('use_locking', false)];
  raw.act('ResourceApplyAdam', attrs, [...variables, ...scalars, grad]);
  tf.dispose(scalars);
  const [param, first, second] = variables.map(outOfVariable);
  return { param: param!, first: first!, second: second! };
}

let count = 0;

/** A resource variable that takes over the tensor's memory. */
function intoVariable(x: tf.Tensor): tf.Tensor {
  const { string, shape } = raw.attr;
  const name = `adamw-${count++}`;
  const variable = raw.run(
    'VarHandleOp',
    [FLOAT, shape('shape', x.shape), string('container', ''), string('shared_name', name)],
    [],
  );
  raw.act('AssignVariableOp', [FLOAT], [variable, x]);
  x.dispose();
  return variable;
}

/** The variable's memory as a tensor again; the variable is gone. */
function outOfVariable(variable: tf.Tensor): tf.Tensor {
  const x = raw.run('ReadVariableOp', [FLOAT], [variable]);
  raw.act('DestroyResourceOp', [raw.attr.bool('ignore_lookup_error', false)], [variable]);
  variable.dispose();
  return x;
}
