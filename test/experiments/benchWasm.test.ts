import * as tf from '@tensorflow/tfjs-core';
import { describe, expect, it } from 'vitest';
import { bothSides, wasmRow, wasmTable } from '../../experiments/bench/wasm.js';
import { initBackend } from '../../src/tensor/backend.js';

await initBackend({ backend: 'wasm' });

describe('our training step beside plain TensorFlow.js', () => {
  it('is the same training: losses agree over several steps, and nothing leaks', () => {
    const before = tf.memory().numTensors;
    const sides = bothSides({ layers: 2, hiddenSize: 16, heads: 2, vocabSize: 32, batch: 2, seq: 8 });
    const losses = Array.from({ length: 4 }, () => [sides.ours(), sides.theirs()] as const);
    for (const [ours, theirs] of losses) expect(Math.abs(ours - theirs)).toBeLessThan(1e-4);
    // From ln 32 downwards: both learn.
    expect(losses[0]![0]).toBeCloseTo(Math.log(32), 1);
    expect(losses[3]![1]).toBeLessThan(losses[0]![1] - 0.01);
    sides.dispose();
    expect(tf.memory().numTensors).toBe(before);
  });

  it('is compared by medians, with the range over the turns', () => {
    const row = wasmRow('L2', [0.1, 0.3, 0.2], [0.8, 0.6, 0.7], 2e-7);
    expect(row).toMatchObject({ ours_s: [0.2, 0.1, 0.3], theirs_s: [0.7, 0.6, 0.8], loss_difference: 2e-7 });
    expect([row.faster, row.faster_min, row.faster_max].map((x) => Number(x.toFixed(6)))).toEqual([
      3.5, 2, 8,
    ]);
    expect(wasmTable([row]).split('\n')[2]).toBe(
      '| training step, L2 | **3.5** (2.0–8.0) | ≥ 3 | 200 (100–300) | 700 (600–800) | 2e-7 |',
    );
    expect(wasmTable([wasmRow('L2', [0.3], [0.6], 0)])).toContain('| ≥ 3, not met |');
  });
});
