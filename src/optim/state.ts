import * as tf from '@tensorflow/tfjs-core';
import { UsageError } from '../errors.js';

/**
 * What a transformation remembers between updates: plain data, tensors by parameter name and numbers, in nested
 * records. `flattenState` gives every leaf a name for saving.
 */
export type State = { [name: string]: number | tf.Tensor | State };

/** The leaves of a state under their paths, e.g. `adam/first/lm_head.weight` and `adam/count`. */
export interface FlatState {
  tensors: Record<string, tf.Tensor>;
  numbers: Record<string, number>;
}

/** Names every leaf; the tensors are those of the state, not copies. */
export function flattenState(state: State): FlatState {
  const flat: FlatState = { tensors: {}, numbers: {} };
  const visit = (node: State, path: string) => {
    for (const [name, value] of Object.entries(node)) {
      if (value instanceof tf.Tensor) flat.tensors[path + name] = value;
      else if (typeof value === 'number') flat.numbers[path + name] = value;
      else visit(value, `${path}${name}/`);
    }
  };
  visit(state, '');
  return flat;
}

/**
 * The inverse: a state of the form of `like` (what `init` returns for the same parameters) with the saved leaves.
 * The result holds the saved tensors themselves; `like` stays the caller's.
 *
 * @throws UsageError if a leaf is missing, left over, or of another shape or kind
 */
export function restoreState<S extends State>(like: S, saved: FlatState): S {
  const expected = flattenState(like);
  for (const [kind, found] of [
    ['tensors', saved.tensors],
    ['numbers', saved.numbers],
  ] as const) {
    const extra = Object.keys(found).find((name) => !Object.hasOwn(expected[kind], name));
    if (extra) throw new UsageError(`optimizer state: "${extra}" belongs to another model or optimizer`);
  }
  const visit = (node: State, path: string): State =>
    Object.fromEntries(Object.entries(node).map(([name, value]) => [name, leaf(value, `${path}${name}`)]));
  const leaf = (value: State[string], path: string): State[string] => {
    if (value instanceof tf.Tensor) {
      const tensor = saved.tensors[path];
      if (!tensor || tensor.shape.join() !== value.shape.join()) {
        const found = tensor ? `shape [${tensor.shape}]` : 'nothing';
        throw new UsageError(`optimizer state: "${path}": ${found} found, shape [${value.shape}] expected`);
      }
      return tensor;
    }
    if (typeof value !== 'number') return visit(value, `${path}/`);
    const number = saved.numbers[path];
    if (typeof number !== 'number') throw new UsageError(`optimizer state: number "${path}" is missing`);
    return number;
  };
  return visit(like, '') as S;
}

/** Disposes every tensor of a state. */
export function disposeState(state: State): void {
  tf.dispose(Object.values(flattenState(state).tensors));
}
