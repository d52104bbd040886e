import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { gatherTraffic, gradientTraffic, secondsOnWire, stepTraffic } from '../../src/plan/exchange.js';
import { parseNetwork, usualNetwork } from '../../src/plan/network.js';
import type { Plan } from '../../src/plan/plan.js';
import { paysUpTo } from '../../src/plan/ranks.js';
import { byPart, byPartOfSlowest } from '../../src/plan/time.js';
import type { Job } from '../../src/plan/work.js';
import { initBackend } from '../../src/tensor/backend.js';
import { runInProcess } from '../helpers/cli.js';
import { type FileWorld, worldConfig, writeConfig, writeFileWorld } from '../helpers/files.js';
import { temporaryDirectory } from '../helpers/temporary.js';

describe('what is exchanged', () => {
  it('a gradient: 2 N (R − 1) / R numbers, 2 log2(R) messages a piece', () => {
    expect(gradientTraffic([1000], 1)).toEqual({ bytes: 0, messages: 0 });
    expect(gradientTraffic([1000], 2)).toEqual({ bytes: 4000, messages: 2 });
    expect(gradientTraffic([600, 400], 8)).toEqual({ bytes: 7000, messages: 12 });
    // A parameter of 3 · 2^20 numbers and one is four pieces.
    expect(gradientTraffic([3 * 2 ** 20 + 1], 4).messages).toBe(16);
  });

  it('GPT-2 124M over 8 ranks and 10 Gbit: 0.87 GB, 0.7 s', () => {
    const traffic = gradientTraffic([124_439_808], 8);
    expect(traffic).toEqual({ bytes: 871_078_656, messages: 714 });
    expect(secondsOnWire(traffic, usualNetwork)).toBeCloseTo(0.6969 + 0.0357, 4);
  });

  it('a gather: the others’ parts, in log2(R) messages after their lengths', () => {
    expect(gatherTraffic(800, 1)).toEqual({ bytes: 0, messages: 0 });
    expect(gatherTraffic(800, 4)).toEqual({ bytes: 600, messages: 4 });
  });

  it('a step: gradient, trajectories of 28 bytes a token, meetings', () => {
    const step = stepTraffic([1000], { tokens: 100, rounds: 0.5 }, 2);
    expect(step).toEqual({ bytes: 4000 + 1400, messages: 2 + 2 * (9 + 1) });
  });
});

describe('--network', () => {
  it.each([
    ['10Gbit,50us', 1.25e9, 50e-6],
    ['100 Gbit/s, 5 us', 12.5e9, 5e-6],
    ['940Mbit', 117.5e6, 50e-6],
    ['1.5GB,0.2ms', 1.5e9, 2e-4],
    ['125MB,0us', 1.25e8, 0],
  ])('%s', (text, bandwidth, latency) => {
    const network = parseNetwork(text);
    expect(network.bandwidth).toBeCloseTo(bandwidth, 0);
    expect(network.latency).toBeCloseTo(latency, 12);
  });

  it.each([
    '',
    'fast',
    '10',
    '10Gb',
    '0Gbit',
    '-1Gbit',
    '10Gbit,50',
    '10Gbit,50ns',
    '10Gbit,1us,1us',
    '50us',
  ])('refused: %j', (text) =>
    expect(() => parseNetwork(text)).toThrow(`--network: ${text}: expected bandwidth and latency`),
  );
});

it('a part takes as long as the rank with most of it, batch by batch', () => {
  const job = (part: string, draw: number, shard: number, tokens: number) =>
    ({ part, draw, shard, tokens, times: 0.5 }) as Job;
  const jobs = [
    ...[8, 2, 2, 2].map((tokens, shard) => job('student', 0, shard, tokens)),
    ...[2, 2, 2, 6].map((tokens, shard) => job('student', 1, shard, tokens)),
    job('teacher', 1, 3, 4),
  ];
  const tokens = ({ tokens }: Job): number => tokens;
  const on = (ranks: number) => byPartOfSlowest(jobs, tokens, { ranks, shards: 4 });
  expect(on(1)).toEqual(byPart(jobs, tokens));
  expect(on(1)).toEqual({ student: 13, teacher: 2 });
  expect(on(2)).toEqual({ student: 5 + 4, teacher: 2 });
  expect(on(4)).toEqual({ student: 4 + 3, teacher: 2 });
});

it('more ranks pay until a doubling shortens the run by less than a tenth', () => {
  const times = (...totals: number[]) => totals.map((total, i) => ({ ranks: 2 ** i, total }));
  expect(paysUpTo(times(100))).toBe(1);
  expect(paysUpTo(times(100, 55, 40))).toBe(4);
  expect(paysUpTo(times(100, 90, 81))).toBe(4);
  expect(paysUpTo(times(100, 91, 20))).toBe(1);
  expect(paysUpTo(times(100, 60, 58, 70))).toBe(2);
});

describe('plan --ranks', () => {
  const place = temporaryDirectory('plan-ranks');
  const at = (name: string): string => join(place.path, name);
  let world: FileWorld;
  beforeAll(async () => {
    await initBackend({ backend: 'wasm' });
    world = await writeFileWorld(place.path);
  });
  afterAll(place.remove);
  const run = async (shards: number, ...more: string[]) => {
    const sizes = { train: { batch_size: 8, shards }, rollout: { rollouts: 16, inner_epochs: 2 } };
    const file = writeConfig(at('plan.yaml'), worldConfig(world, 'minillm', sizes));
    return runInProcess('plan', file, '--backend', 'wasm', '--quiet', ...more);
  };
  const planned = async (...args: Parameters<typeof run>): Promise<Plan> => {
    const { code, stdout, stderr } = await run(...args, '--json');
    expect(code, stderr).toBe(0);
    return JSON.parse(stdout) as Plan;
  };

  it('without a calibration: bytes, messages, memory', async () => {
    const found = await planned(4, '--no-calibrate', '--ranks', '4', '--network', '1Gbit,1ms');
    const { ranks, shards, network, exchanged_per_step: step, times, pays_up_to } = found.ranks!;
    expect({ ranks, shards, times, pays_up_to }).toEqual({
      ranks: 4,
      shards: 4,
      times: null,
      pays_up_to: null,
    });
    expect(network).toEqual({ bandwidth: 125e6, latency: 1e-3 });
    const tokens = found.tokens_per_step.student_rollout!;
    const gradient = 6 * found.models[0]!.parameters;
    expect(step.bytes).toBeCloseTo(gradient + 21 * tokens, 6);
    expect(found.ranks!.wire).toBeCloseTo(step.bytes / 125e6 + step.messages * 1e-3, 12);
    expect(found.ranks!.memory).toBeLessThan(found.memory.total);
    expect(found.schedule).toMatchObject({ global_batch: 8, micro_batch: 2, accumulation: 4 });
  });

  it('with one: every number of ranks up to the shards, and where more do not pay', async () => {
    const found = await planned(2, '--ranks', '2', '--network', '0.01Mbit,50us');
    const { times, pays_up_to } = found.ranks!;
    expect(times!.map(({ ranks }) => ranks)).toEqual([1, 2]);
    const [one, two] = times!;
    expect(one).toMatchObject({ efficiency: 1, total: found.time!.total });
    expect(one!.per_step.exchange).toBeUndefined();
    // A wire this slow is most of the step.
    expect(two!.per_step.exchange).toBeGreaterThan(found.ranks!.wire);
    expect(two!.efficiency).toBeCloseTo(one!.total / two!.total / 2, 12);
    expect(pays_up_to).toBe(1);
  });

  it('as a table', async () => {
    const { code, stdout } = await run(2, '--no-calibrate', '--ranks', '2');
    expect(code).toBe(0);
    expect(stdout).toContain('on 2 ranks, 2 shards, 10 Gbit/s, 50 µs:');
    expect(stdout).toMatch(/sent and received in a step +[\d.]+ MB, \d+ messages/);
  });

  it.each([
    [['--ranks', '4'], 'train.shards: 2 shards for 4 processes'],
    [['--ranks', '3'], '--ranks: 3; expected a power of two, at most train.shards (2)'],
    [['--ranks', '2', '--network', 'slow'], '--network: slow: expected bandwidth and latency as 10Gbit,50us'],
    [['--network', '1Gbit'], '--network: is between ranks; add --ranks'],
  ])('refused in one line: %j', async (args, line) => {
    const { code, stderr, stdout } = await run(2, ...args);
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
    expect(stderr).toContain(line);
    expect(stderr.trimEnd().split('\n')).toHaveLength(1);
  });
});
