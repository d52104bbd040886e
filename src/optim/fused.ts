import * as tf from '@tensorflow/tfjs-core';
import * as raw from '../tensor/ops/raw.js';
import type { Params } from '../tensor/params.js';

const FLOAT = raw.attr.type('dtype', 'float32');

export interface FusedNumbers {
  /** What a parameter is multiplied by before it is subtracted from itself: learning rate · weight decay, or 0. */
  decay: (name: string, param: tf.Tensor) => number;
  /** The learning rate times the bias correction's `scale`. */
  stepSize: number;
  beta1: number;
  beta2: number;
  /** Epsilon times the bias correction's `root`. */
  epsilon: number;
}

/**
 * One AdamW update by TensorFlow's own kernel, in place: one pass over memory instead of a dozen. Native backend only;
 * for where our own kernels (inPlace.ts) are not: GPUs and the prebuilt addon.
 * The rule is that of the chain in adamw.ts; the results are equal up to rounding.
 *
 * Consumes the tensors of `params` and of `moments`. Their memory is reused, unless somebody else holds an alias
 * (a clone): then TensorFlow copies first. `grads` stays the caller's.
 */
export function fusedAdamW(
  grads: Params,
  moments: { first: Params; second: Params },
  params: Params,
  gradScale: number,
  { decay, stepSize, beta1, beta2, epsilon }: FusedNumbers,
): { params: Params; first: Params; second: Params } {
  // The kernel would put epsilon before the bias correction and round 1 − βᵗ to float32. Told that βᵗ is 0, it
  // corrects nothing; the caller's numbers carry the correction.
  const scalars = [0, 0, stepSize, beta1, beta2, epsilon].map((x) => tf.scalar(x));
  const attrs = [raw.attr.type('T', 'float32'), raw.attr.bool('use_locking', false)];
  const next = { params: {} as Params, first: {} as Params, second: {} as Params };
  for (const [name, param] of Object.entries(params)) {
    const factor = decay(name, param);
    const shrink = factor === 0 ? undefined : tf.mul(param, factor);
    const [p, m, v] = [param, moments.first[name]!, moments.second[name]!].map(intoVariable) as Triple;
    if (shrink) raw.act('AssignSubVariableOp', [FLOAT], [p, shrink]);
    shrink?.dispose();
    const grad = gradScale === 1 ? grads[name]! : tf.mul(grads[name]!, gradScale);
    raw.act('ResourceApplyAdam', attrs, [p, m, v, ...scalars, grad]);
    if (grad !== grads[name]) grad.dispose();
    next.params[name] = outOfVariable(p);
    next.first[name] = outOfVariable(m);
    next.second[name] = outOfVariable(v);
  }
  tf.dispose(scalars);
  return next;
}

type Triple = [tf.Tensor, tf.Tensor, tf.Tensor];
/** A resource variable that takes over the tensor's memory. */
function intoVariable(x: tf.Tensor, index: number): tf.Tensor {
  const { string, shape } = raw.attr;
  // Every variable is gone before its name is used again. TensorFlow keeps 2 kB for every name it ever saw.
  const name = `adamw-${index}`;
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
