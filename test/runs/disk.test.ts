import { existsSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import * as tf from '@tensorflow/tfjs-core';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { failFrom, type Kind, wellAgain } from '../../experiments/torture/disk/faultyDisk.js';
import { RunError } from '../../src/errors.js';
import { openMetricsLog } from '../../src/runs/metricsLog.js';
import { readTrainConfig } from '../../src/runs/runConfig.js';
import { runTraining } from '../../src/runs/train.js';
import { initBackend } from '../../src/tensor/backend.js';
import type { TrainConfig } from '../../src/training/config.js';
import { worldConfig, writeConfig, writeFileWorld } from '../helpers/files.js';
import { temporaryDirectory } from '../helpers/temporary.js';

const backend = await initBackend({ backend: 'cpu' });
const place = temporaryDirectory('disk');
afterAll(place.remove);
afterEach(() => void wellAgain());
const at = (name: string): string => join(place.path, name);

let config: TrainConfig;
beforeAll(async () => {
  const world = await writeFileWorld(place.path);
  const fields = worldConfig(world, 'minillm', { train: { steps: 4 } });
  config = await readTrainConfig(writeConfig(at('config.yaml'), fields), []);
});
const train = (out: string, resume = false) =>
  runTraining(config, out, { resume, backend, log: () => {}, quiet: true, stopping: () => false });
const result = (out: string): string[] => [
  readFileSync(join(out, 'final', 'model.safetensors'), 'base64'),
  readFileSync(join(out, 'metrics.jsonl'), 'utf8').replaceAll(/"wall_s":[^,}]*/g, ''),
];

describe('a disk that fails in the middle of a run', () => {
  it.each<[Kind, RegExp]>([
    [
      'full',
      /: no space is left on the disk \(ENOSPC\); what was saved is whole: mend that, and --resume goes on/,
    ],
    ['full after half a write', /: no space is left on the disk \(ENOSPC\); /],
    ['read-only', /: the disk is read-only \(EROFS\); /],
  ])('%s: one line, and --resume comes to the same bytes', async (kind, line) => {
    const whole = at(`whole ${kind}`);
    failFrom(whole, Number.POSITIVE_INFINITY, kind);
    await train(whole);
    const { operations } = wellAgain();
    expect(operations).toBeGreaterThan(60);
    const out = at(`broken ${kind}`);
    failFrom(out, Math.floor(0.8 * operations), kind);
    const ended = await train(out).catch((error: unknown) => error);
    expect(wellAgain().failed).not.toBe('');
    expect(ended).toBeInstanceOf(RunError);
    expect((ended as Error).message).toMatch(line);
    expect((ended as Error).message).toContain(out);
    expect(readdirSync(join(out, 'checkpoints')).filter((name) => /^\d+$/.test(name))).toContain('2');
    rmSync(at(`.broken ${kind}.pid`), { force: true });
    await train(out, true);
    expect(result(out)).toEqual(result(whole));
  });
});

it('a line of the log that does not fit is an error, not a part of a line that later lines follow', () => {
  const file = at('metrics.jsonl');
  failFrom(file, 2, 'full after half a write');
  const log = openMetricsLog(file);
  expect(() => log.write({ step: 1, round: 0, phase: 'train', wall_s: 0 })).toThrow('ENOSPC');
});

it('a run that ends early leaves no tensors', async () => {
  const out = at('refused');
  await train(out);
  const before = tf.memory().numTensors;
  const state = join(out, 'checkpoints', '4', 'training-state', 'rollouts.jsonl');
  expect(existsSync(state)).toBe(true);
  rmSync(state);
  await expect(train(out, true)).rejects.toThrow('rollouts.jsonl: cannot be read (ENOENT)');
  expect(tf.memory().numTensors).toBe(before);
});
