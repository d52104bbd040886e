import * as tf from '@tensorflow/tfjs-core';
import { expect, it } from 'vitest';
import { tinyWorld } from '../helpers/training.js';

/** MiniLLM with all that a round keeps, for eight rounds; `initBackend` must have run. experiments/bench/soak.ts goes on for longer. */
export function memorySuite(): void {
  it('tensors and bytes at the end of a round are those of the round before', async () => {
    const before = tf.memory().numTensors;
    const world = tinyWorld({
      config: {
        method: 'minillm',
        train: { steps: 32, batch_size: 4, micro_batch_size: 2, lr: 1e-3 },
        rollout: { rollouts: 8, inner_epochs: 2 },
        objective: { baseline: 'value', lm_coef: 1 },
      },
      student: { hidden: 8 },
      corpus: 8,
    });
    const ends: { tensors: number; bytes: number }[] = [];
    await world.run({
      onStep({ step }) {
        const { numTensors, numBytes } = tf.memory();
        if (step % 4 === 0) ends.push({ tensors: numTensors, bytes: numBytes });
      },
    });
    world.dispose();
    expect(ends).toHaveLength(8);
    expect(new Set(ends.map((end) => JSON.stringify(end))).size).toBe(1);
    expect(tf.memory().numTensors).toBe(before);
  });
}
