import * as tf from '@tensorflow/tfjs-core';
import { UsageError } from '../errors.js';
import { disposeParams, type Params } from '../tensor/params.js';
import { flattenState, type State } from './state.js';

/**
 * One link of an optimizer (the design of Optax): a pure function of the updates, its state and the parameters.
 *
 * The first link receives the gradients; what the last one returns is added to the parameters. `update` neither
 * keeps nor disposes its inputs and may return a tensor it was given; `applyStep` is the one place where state and
 * parameters change owner.
 */
export interface GradientTransformation<S extends State = State> {
  init(params: Params): S;
  update(updates: Params, state: S, params: Params): [updates: Params, state: S];
}

/** The links one after another, in the order written; the state of each is kept under its name. */
export function chain<C extends Record<string, State>>(
  links: {
    [K in keyof C]: GradientTransformation<C[K]>;
  },
): GradientTransformation<C> {
  const list = Object.entries(links) as [string, GradientTransformation][];
  return {
    init: (params) => Object.fromEntries(list.map(([name, link]) => [name, link.init(params)])) as C,
    update(updates, state, params) {
      const next: State = {};
      let current = updates;
      for (const [name, link] of list) {
        [current, next[name]] = link.update(current, state[name]!, params);
      }
      return [current, next as C];
    },
  };
}

/** The same function of every named tensor. */
export function mapParams(params: Params, f: (tensor: tf.Tensor, name: string) => tf.Tensor): Params {
  return Object.fromEntries(Object.entries(params).map(([name, tensor]) => [name, f(tensor, name)]));
}

/** params + updates, name by name. */
export function applyUpdates(params: Params, updates: Params): Params {
  return mapParams(params, (tensor, name) => tf.add(tensor, updates[name]!));
}

/**
 * One optimizer step: update, then add. The one place where parameters and optimizer state change owner:
 * it consumes `params` and `state` (their tensors are disposed) and the caller owns what comes back. `grads` stays
 * the caller's.
 *
 * @throws UsageError if a gradient is missing; then nothing has been consumed
 */
export function applyStep<S extends State>(
  optimizer: GradientTransformation<S>,
  grads: Params,
  state: S,
  params: Params,
): { params: Params; state: S } {
  assertSameNames(grads, params);
  const next = tf.tidy(() => {
    const [updates, nextState] = optimizer.update(grads, state, params);
    return { params: applyUpdates(params, updates), state: nextState };
  });
  disposeParams(params);
  // A link may hand a state tensor on unchanged.
  const kept = new Set(Object.values(flattenState(next.state).tensors));
  tf.dispose(Object.values(flattenState(state).tensors).filter((tensor) => !kept.has(tensor)));
  return next;
}

/** @throws UsageError if a parameter has no gradient or a gradient no parameter */
export function assertSameNames(grads: Params, params: Params): void {
  for (const [a, b, problem] of [
    [params, grads, 'has no gradient'],
    [grads, params, 'has a gradient but is no parameter'],
  ] as const) {
    const odd = Object.keys(a).find((name) => !Object.hasOwn(b, name));
    if (odd !== undefined) throw new UsageError(`optimizer: "${odd}" ${problem}`);
  }
}
