import * as tf from '@tensorflow/tfjs-core';

/** What TensorFlow.js writes down about an operation while a tape is on. */
interface TapeNode {
  kernelName: string;
  inputs: Record<string, tf.Tensor>;
  outputs: tf.Tensor[];
  /** The gradient of each input, given those of the outputs (null where nothing came back). */
  gradient?: (dys: (tf.Tensor | null)[]) => Record<string, () => tf.Tensor>;
  /** What the gradient needs of the forward pass; kept until it is disposed here. */
  saved?: tf.Tensor[];
}

/** The inside of TensorFlow.js's engine that `tf.grads` stands on. */
interface TapeEngine {
  state: { activeTape: TapeNode[] | null; gradientDepth: number };
  startTape(): void;
  endTape(): void;
  isTapeOn(): boolean;
}

/** Whether operations are being written down for a backward pass. */
export function recording(): boolean {
  return (tf.engine() as unknown as TapeEngine).isTapeOn();
}

/**
 * Runs `f` and then its reverse: reverse-mode differentiation over TensorFlow.js's own tape.
 *
 * As `tf.grads`, but what is no longer needed is freed on the way. `tf.grads` frees nothing before the pass is over, and
 * holds all activations and all their gradients at once; here an activation goes as soon as its gradient has been used.
 *
 * @param dy the gradient that arrives at the value, of its shape; default: ones
 * @returns the value, and the gradient for each of `inputs` (undefined where the value does not depend on it)
 */
export function reverse<T extends tf.Tensor>(
  f: () => T,
  inputs: tf.Tensor[],
  dy?: T,
): { value: T; grads: (tf.Tensor | undefined)[] } {
  const { value, tape } = runTaped(f);
  try {
    return { value, grads: tf.tidy(() => walkBack(tape, value, inputs, dy)) };
  } finally {
    for (const node of tape) forget(node);
  }
}

function runTaped<T extends tf.Tensor>(f: () => T): { value: T; tape: TapeNode[] } {
  const engine = tf.engine() as unknown as TapeEngine;
  const { state } = engine;
  if (state.gradientDepth > 0) throw new Error('a gradient inside a gradient is not supported');
  engine.startTape();
  try {
    const value = tf.tidy(f);
    return { value, tape: state.activeTape! };
  } catch (error) {
    for (const node of state.activeTape ?? []) forget(node);
    throw error;
  } finally {
    engine.endTape();
    state.activeTape = null;
  }
}

/** Frees what the forward pass saved. */
function forget(node: TapeNode): void {
  for (const tensor of node.saved ?? []) tensor.dispose();
}

function walkBack(
  tape: TapeNode[],
  value: tf.Tensor,
  inputs: tf.Tensor[],
  dy?: tf.Tensor,
): (tf.Tensor | undefined)[] {
  const dependent = dependents(tape, inputs);
  const grads = new Map<number, tf.Tensor>([[value.id, dy?.clone() ?? tf.onesLike(value)]]);
  for (const node of tape.toReversed()) {
    const dys = node.outputs.map(({ id }) => grads.get(id) ?? null);
    const wanted = Object.entries(node.inputs).filter(([, { id }]) => dependent.has(id));
    if (wanted.length > 0 && dys.some((dy) => dy !== null)) {
      const dxs = gradientsOf(
        node,
        dys,
        wanted.map(([name]) => name),
      );
      wanted.forEach(([, { id }], i) => {
        grads.set(id, sumInto(grads.get(id), dxs[i]!));
      });
    }
    for (const { id } of node.outputs) {
      grads.get(id)?.dispose();
      grads.delete(id);
    }
    forget(node);
  }
  return inputs.map(({ id }, i) => {
    const grad = grads.get(id);
    // The same tensor under two names has two owners of its gradient.
    return inputs.findIndex((input) => input.id === id) === i ? grad : grad?.clone();
  });
}

/** The ids of all tensors that depend on the inputs. */
function dependents(tape: TapeNode[], inputs: tf.Tensor[]): Set<number> {
  const ids = new Set(inputs.map(({ id }) => id));
  for (const node of tape)
    if (Object.values(node.inputs).some(({ id }) => ids.has(id)))
      for (const { id } of node.outputs) ids.add(id);
  return ids;
}

/** The gradients of the named inputs, each a tensor of its own. */
function gradientsOf(node: TapeNode, dys: (tf.Tensor | null)[], names: string[]): tf.Tensor[] {
  if (!node.gradient) throw new Error(`${node.kernelName} has no gradient`);
  return tf.tidy(() => {
    const byInput = node.gradient!(dys);
    const taken = new Set<tf.Tensor | null>(dys);
    return names.map((name) => {
      const found = tf.tidy(() => byInput[name]!());
      const { shape } = node.inputs[name]!;
      if (String(found.shape) !== String(shape))
        throw new Error(`the gradient of ${node.kernelName} for ${name} is [${found.shape}], not [${shape}]`);
      const grad = taken.has(found) ? found.clone() : found;
      taken.add(grad);
      return grad;
    });
  });
}

function sumInto(total: tf.Tensor | undefined, part: tf.Tensor): tf.Tensor {
  if (!total) return part;
  const sum = tf.add(total, part);
  tf.dispose([total, part]);
  return sum;
}
