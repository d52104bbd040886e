import { describe, expect, it } from 'vitest';
import { stream } from '../../src/random/streams.js';
import { initBackend } from '../../src/tensor/backend.js';
import { judge, type Replay, recall, remember } from '../../src/training/replay.js';
import { tinyWorld } from '../helpers/training.js';

await initBackend({ backend: 'cpu' });

/** Where only the schedule is looked at. */
const small = { student: { hidden: 8, layers: 1 }, teacher: { hidden: 8, layers: 1 } };

const empty: Replay = { threshold: 0, reference: null, buffer: [] };
const response = (id: number) => ({ promptIds: [1], responseIds: [id] });
const ids = (replay: Pick<Replay, 'buffer'>): number[] => replay.buffer.map((s) => s.responseIds[0]!);

describe('the replay buffer', () => {
  it('drops the oldest beyond its capacity', () => {
    const full = remember(remember(empty, [1, 2, 3].map(response), 4), [4, 5, 6].map(response), 4);
    expect(ids(full)).toEqual([3, 4, 5, 6]);
    expect(empty.buffer).toEqual([]);
  });
  it('gives different responses, each equally often', () => {
    const replay = remember(empty, [0, 1, 2, 3, 4].map(response), 9);
    const counts = [0, 0, 0, 0, 0];
    for (let draw = 0; draw < 2000; draw++) {
      const found = ids({ buffer: recall(replay, 2, stream(1, draw)) });
      expect(new Set(found).size).toBe(2);
      for (const id of found) counts[id]!++;
    }
    // 800 expected, standard deviation 22.
    for (const count of counts) expect(Math.abs(count - 800)).toBeLessThan(90);
    expect(ids(replay)).toEqual([0, 1, 2, 3, 4]);
  });
  it('φ grows by a tenth where the loss is 0.1 above the reference, which then moves; never above 1', () => {
    const rule = { tolerance: 0.1, increment: 0.1 };
    let replay = empty;
    const seen = [2, 2.05, 1.5, 2.1, 2.15, 2.2, 5].map((loss) => {
      replay = judge(replay, loss, rule);
      return replay;
    });
    expect(seen.map((r) => r.threshold)).toEqual([0, 0, 0, 0.1, 0.1, 0.2, 0.3]);
    expect(seen.map((r) => r.reference)).toEqual([2, 2, 2, 2.1, 2.1, 2.2, 5]);
    expect(judge({ ...empty, threshold: 0.95, reference: 0 }, 1, rule).threshold).toBe(1);
  });
});

describe('distillm', () => {
  const sources = async (threshold: number, capacity: number) => {
    const world = tinyWorld({
      config: { method: 'distillm', distillm: { threshold, capacity }, train: { steps: 40, batch_size: 4 } },
      ...small,
    });
    const records = await world.run();
    const replay = world.state.replay;
    world.dispose();
    return { metrics: records.map((r) => r.metrics), replay };
  };

  it('φ = 0 is gold alone, φ = 1 samples alone: fresh ones early, the buffer late', async () => {
    const gold = await sources(0, 8);
    expect(gold.metrics.every((m) => m.on_policy === 0 && m.replay_size === 0)).toBe(true);
    const own = await sources(1, 8);
    expect(own.metrics.every((m) => m.on_policy === 1)).toBe(true);
    expect(own.metrics.map((m) => m.replay_size).slice(0, 3)).toEqual([4, 8, 8]);
    expect(own.replay!.buffer).toHaveLength(8);
  });
  it('a buffer that never fills is never drawn from: about φ of the steps sample', async () => {
    const { metrics, replay } = await sources(0.5, 1000);
    const share = metrics.filter((m) => m.on_policy === 1).length / 40;
    expect(Math.abs(share - 0.5)).toBeLessThan(0.25);
    expect(replay!.buffer).toHaveLength(share * 40 * 4);
  });
});

describe('gkd', () => {
  it('takes about λ of its steps on own samples; the ends are pure', async () => {
    for (const [lambda, low, high] of [
      [0, 0, 0],
      [0.5, 0.25, 0.75],
      [1, 1, 1],
    ] as const) {
      const world = tinyWorld({
        config: { method: 'gkd', gkd: { lambda }, train: { steps: 40, batch_size: 4 } },
        ...small,
      });
      const share = (await world.run()).filter((r) => r.metrics.on_policy === 1).length / 40;
      world.dispose();
      expect(share).toBeGreaterThanOrEqual(low);
      expect(share).toBeLessThanOrEqual(high);
    }
  });
  it('β = 0, λ = 0 is the kd of ratio 1, up to the entropy of the teacher', async () => {
    const norms: number[][] = [];
    for (const config of [
      { method: 'gkd', gkd: { beta: 0, lambda: 0 } },
      { method: 'kd', kd: { ratio: 1 } },
    ]) {
      const world = tinyWorld({ config: { ...config, train: { steps: 5, batch_size: 4 } } });
      norms.push((await world.run()).map((r) => r.metrics.grad_norm!));
      world.dispose();
    }
    norms[0]!.forEach((norm, step) => {
      expect(norm / norms[1]![step]!).toBeCloseTo(1, 4);
    });
  });
});
