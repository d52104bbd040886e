import * as tf from '@tensorflow/tfjs-core';

/** The calls of the native binding that compute, copy or free. */
const calls = ['executeOp', 'tensorDataSync', 'createTensor', 'deleteTensor'] as const;
type Binding = Record<(typeof calls)[number], (...args: unknown[]) => unknown>;

/**
 * Seconds spent inside the native engine from now on: every call of its binding is put on a clock. What a piece of work takes
 * beyond them is JavaScript: TensorFlow.js itself, our code, garbage collection. Operations of the engine are synchronous, so
 * nothing of it runs on unseen. The clock costs under a microsecond a call.
 */
export function engineClock(): { seconds(): number; remove(): void } {
  const backend = tf.backend() as unknown as { binding: Binding };
  const plain = backend.binding;
  let total = 0;
  const onTheClock =
    (name: keyof Binding): Binding[keyof Binding] =>
    (...args) => {
      const from = performance.now();
      try {
        return plain[name](...args);
      } finally {
        total += performance.now() - from;
      }
    };
  // Defined, not assigned: the properties of the binding are read-only.
  const clocked = Object.create(
    plain,
    Object.fromEntries(calls.map((name) => [name, { value: onTheClock(name) }])),
  ) as Binding;
  backend.binding = clocked;
  return {
    seconds: () => total / 1000,
    remove() {
      backend.binding = plain;
    },
  };
}
