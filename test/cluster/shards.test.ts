import * as tf from '@tensorflow/tfjs-core';
import { beforeAll, describe, expect, it } from 'vitest';
import { alone, type Cluster } from '../../src/cluster/cluster.js';
import { Shards } from '../../src/cluster/shards.js';
import { whole } from '../../src/pieces.js';
import { initBackend } from '../../src/tensor/backend.js';
import { disposeParams } from '../../src/tensor/params.js';
import { batchGradients } from '../../src/training/gradients.js';
import { GradientTree } from '../../src/training/gradientTree.js';
import type { Method } from '../../src/training/method.js';
import { methods } from '../../src/training/methods.js';
import { ownMicroBatches } from '../../src/training/microBatches.js';
import { tinyWorld } from '../helpers/training.js';

const rank = (rank: number, size: number): Cluster => ({ ...alone, rank, size });

describe('rows are cut by position', () => {
  it('into neighbouring parts, whose number the ranks share out', () => {
    const rows = [...'abcdefghij'];
    const shards = new Shards(4);
    expect([0, 1, 2, 3].map((s) => shards.part(rows, s).join(''))).toEqual(['ab', 'cde', 'fg', 'hij']);
    expect(shards.own).toEqual([0, 1, 2, 3]);
    expect(new Shards(8, rank(1, 4)).own).toEqual([2, 3]);
    expect(new Shards(4, rank(3, 4)).own).toEqual([3]);
    expect(() => new Shards(2, rank(0, 4))).toThrow(
      'train.shards: 2 shards for 4 processes; at least one for each is needed (train.shards 4, and the same number gives the same bytes on fewer processes)',
    );
  });

  it('what is made of them comes back in order, each shard worked on by itself', () => {
    const seen: [string, number][] = [];
    const made = whole(
      new Shards(4).map([...'abcdefghij'], function* (own, first) {
        seen.push([own.join(''), first]);
        yield;
        return own.flatMap((x) => [x, x.toUpperCase()]);
      }),
    );
    expect(seen).toEqual([
      ['ab', 0],
      ['cde', 2],
      ['fg', 5],
      ['hij', 7],
    ]);
    expect(made.join('')).toBe('aAbBcCdDeEfFgGhHiIjJ');
  });

  it('micro-batches stay within a shard, of which each knows its own', () => {
    const sequence = (n: number) => ({ promptIds: new Int32Array(n), responseIds: new Int32Array(1) });
    const batch = [5, 1, 4, 2, 3, 6].map(sequence);
    const lengths = (shards?: Shards) =>
      ownMicroBatches(batch, 2, shards).map(({ part, shard }) => [
        shard,
        ...part.map((s) => s.promptIds.length),
      ]);
    expect(lengths()).toEqual([
      [0, 1, 2],
      [0, 3, 4],
      [0, 5, 6],
    ]);
    expect(lengths(new Shards(2))).toEqual([
      [0, 1, 4],
      [0, 5],
      [1, 2, 3],
      [1, 6],
    ]);
    expect(lengths(new Shards(2, rank(1, 2)))).toEqual([
      [1, 2, 3],
      [1, 6],
    ]);
  });
});

describe('gradients', () => {
  beforeAll(async () => void (await initBackend({ backend: 'wasm' })));

  it('of shards are added up as a balanced tree of float32 sums, not one after the other', () => {
    // 1 is lost when it is added to 2^24: a row of sums loses seven of them, a tree keeps those that meet first.
    const values = [2 ** 24, 1, 1, 1, 1, 1, 1, 1];
    const tree = new GradientTree(new Shards(8));
    for (const value of values) tree.add({ w: tf.tensor1d([value, -value]) });
    const { w } = tree.total();
    const half = Math.fround(Math.fround(2 ** 24 + 1) + 2);
    expect(Array.from(w!.dataSync())).toEqual([half + 4, -(half + 4)]);
    expect(values.reduce((sum, x) => Math.fround(sum + x), 0)).toBe(2 ** 24);
    w!.dispose();
  });

  const changes = {
    minillm: { objective: { alpha: 0.2 }, rollout: { rollouts: 8 } },
    sft: {},
    kd: {},
    gkd: { gkd: { lambda: 1 } },
    distillm: { distillm: { lm_coef: 0.5 } },
  };
  it.each(Object.entries(changes))(
    '%s: a batch that is cut into four has the loss and gradient of the whole one',
    async (name, change) => {
      const config = { method: name, train: { steps: 1, batch_size: 8 }, ...change };
      const gradient = async (shards?: Shards) => {
        const world = tinyWorld({ config, corpus: name === 'sft' ? 0 : 6 });
        const before = tf.memory().numTensors;
        const context = { ...world.context, ...(shards && { shards }) };
        const method: Method = methods[world.context.config.method]();
        await method.prepare?.(context);
        if (method.collect) {
          world.state.round = 1;
          await method.collect(context, world.state);
        }
        const plan = method.step(context, world.state);
        const { values, grads } = batchGradients(plan.micro, world.state.params, shards);
        const flat = Object.values(grads!).flatMap((g) => Array.from(g.dataSync()));
        disposeParams(grads!);
        method.dispose?.();
        expect(tf.memory().numTensors).toBe(before);
        world.dispose();
        return { values, flat, tokens: plan.tokens };
      };
      const [one, four] = [await gradient(), await gradient(new Shards(4))];
      expect(four.tokens).toBe(one.tokens);
      for (const [part, value] of Object.entries(one.values)) expect(four.values[part]).toBeCloseTo(value, 5);
      const scale = Math.max(...one.flat.map(Math.abs));
      four.flat.forEach((g, i) => void expect(Math.abs(g - one.flat[i]!)).toBeLessThan(2e-6 * scale + 1e-8));
    },
  );
});
