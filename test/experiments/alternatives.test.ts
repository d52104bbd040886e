import * as tf from '@tensorflow/tfjs-core';
import { afterAll, describe, expect, it } from 'vitest';
import { compileGraph } from '../../experiments/bench/compiledGraph.js';
import { varint } from '../../experiments/bench/protobuf.js';
import { rowOf } from '../../experiments/bench/turns.js';
import { initBackend } from '../../src/tensor/backend.js';
import { linear } from '../../src/tensor/ops/index.js';
import { valueAndGrads } from '../../src/tensor/params.js';

const there = await initBackend({ backend: 'tensorflow' }).then(
  () => true,
  (error: Error) => {
    process.stderr.write(`compiled graphs are not tested: ${error.message}\n`);
    return false;
  },
);

it('whole numbers in protocol buffers: seven bits a byte, a negative one as 64 bits', () => {
  expect([...varint(0)]).toEqual([0]);
  expect([...varint(300)]).toEqual([0xac, 2]);
  expect([...varint(-1)]).toEqual([255, 255, 255, 255, 255, 255, 255, 255, 255, 1]);
});

it('a row compares turn by turn: a slow moment of both sides does not count', () => {
  const ours = [1, 10, 2].map((seconds) => ({ seconds, cpu_s: 1 }));
  const theirs = [2, 20, 1].map((seconds) => ({ seconds, cpu_s: 4 }));
  const row = rowOf('technique', 'work', ours, theirs, {});
  expect(row).toMatchObject({ speedup: 0.5, speedup_range: [0.5, 2], cpu_speedup: 0.25, turns: 3 });
});

describe.skipIf(!there)('a compiled graph', () => {
  const [x, y] = [tf.tensor2d([1, 2, 3, 4], [2, 2]), tf.tensor2d([3, -1, 2, 0.5], [2, 2])];
  const w = tf.tensor2d([0.5, -1, 2, 1, 0, 3], [2, 3]);
  afterAll(() => tf.dispose([x, y, w]));
  const step = ([x, w]: tf.Tensor[]): tf.Tensor[] => {
    const loss = (p: { [name: string]: tf.Tensor }) =>
      tf.sum(tf.square(linear(x as tf.Tensor2D, p.w as tf.Tensor2D))) as tf.Scalar;
    const { value, grads } = valueAndGrads(loss, { w: w! });
    return [value, grads.w!];
  };

  it('computes value and gradient anew for other inputs, and leaves nothing behind', () => {
    const before = tf.memory().numTensors;
    const graph = compileGraph(step, [x, w]);
    for (const input of [x, y]) {
      const [expected, found] = [tf.tidy(() => step([input, w])), graph.run([input, w])];
      expected.forEach((tensor, i) => {
        expect(found[i]!.shape).toEqual(tensor.shape);
        const values = found[i]!.dataSync();
        for (const [n, value] of tensor.dataSync().entries()) expect(values[n]).toBeCloseTo(value, 4);
      });
      tf.dispose([expected, found]);
    }
    graph.dispose();
    expect(tf.memory().numTensors).toBe(before);
    expect(() => graph.run([x, w])).toThrow();
  });

  it('does not freeze a tensor from outside', () => {
    const before = tf.memory().numTensors;
    const used = tf.tidy(() => tf.keep(tf.add(w, 1))); // known to the engine already
    expect(() => compileGraph(([x]) => [tf.matMul(x as tf.Tensor2D, used as tf.Tensor2D)], [x])).toThrow(
      'not among the inputs',
    );
    used.dispose();
    expect(tf.memory().numTensors).toBe(before);
  });
});
