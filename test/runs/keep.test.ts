import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { readTrainConfig } from '../../src/runs/runConfig.js';
import type { TrainRunOptions } from '../../src/runs/runOptions.js';
import { runTraining } from '../../src/runs/train.js';
import { initBackend } from '../../src/tensor/backend.js';
import type { TrainConfig } from '../../src/training/config.js';
import { fingerprintOfRun, runInProcess, sha256 } from '../helpers/cli.js';
import { type FileWorld, worldConfig, writeConfig, writeFileWorld } from '../helpers/files.js';
import { temporaryDirectory } from '../helpers/temporary.js';

await initBackend({ backend: 'wasm' });
const place = temporaryDirectory('keep');
let world: FileWorld;
let file: string;
let config: TrainConfig;
const at = (name: string): string => join(place.path, name);
const train = (name: string, options: TrainRunOptions = {}) =>
  runTraining(config, at(name), { quiet: true, ...options });
beforeAll(async () => {
  world = await writeFileWorld(place.path);
  file = writeConfig(at('config.yaml'), worldConfig(world, 'seqkd', { train: { steps: 4 } }));
  config = await readTrainConfig(file, []);
  await train('plain');
});
afterAll(place.remove);

describe('hooks', () => {
  it('hear every step, validation and checkpoint in order, are waited for, and change no byte', async () => {
    const heard: string[] = [];
    const say = async (text: string) => {
      await new Promise((resolve) => setTimeout(resolve, 5));
      heard.push(text);
    };
    await train('hooked', {
      onStep: ({ step, metrics }) => say(`step ${step} ${Number.isFinite(metrics.loss)}`),
      onEvaluate: ({ step, metrics }) => say(`valid ${step} ${metrics.lm_loss!.n}`),
      onCheckpoint: ({ step, directory }) =>
        say(`checkpoint ${step} ${existsSync(join(directory, 'training-state/state.json'))}`),
    });
    expect(heard).toEqual([
      ...['valid 0 4', 'step 1 true', 'step 2 true', 'checkpoint 2 true'],
      ...['step 3 true', 'valid 3 4', 'step 4 true', 'valid 4 4', 'checkpoint 4 true'],
    ]);
    expect(fingerprintOfRun(at('hooked'))).toEqual(fingerprintOfRun(at('plain')));
  });

  it('what one throws ends the run, and a resume ends with the same bytes', async () => {
    const failing = train('thrown', {
      onStep: ({ step }) => {
        if (step === 3) throw new Error('the tracker is gone');
      },
    });
    await expect(failing).rejects.toThrow('the tracker is gone');
    const steps: number[] = [];
    await train('thrown', { resume: true, onStep: ({ step }) => steps.push(step) });
    expect(steps).toEqual([3, 4]);
    expect(fingerprintOfRun(at('thrown'))).toEqual(fingerprintOfRun(at('plain')));
  });
});

it('the line about the backend says why it was chosen', async () => {
  const lines: string[] = [];
  await runTraining({ ...config, backend: 'wasm' }, at('backend'), {
    log: (line) => lines.push(line),
    quiet: true,
  });
  expect(lines[0]).toBe('backend wasm (asked for)');
});

describe('what a finished run keeps', () => {
  it('all: the end says how much of it may go', async () => {
    const lines: string[] = [];
    await train('told', { log: (line) => lines.push(line) });
    expect(lines.at(-1)).toMatch(
      /told: [\d.]+ MB, of which [\d.]+ MB in checkpoints\/ serve --resume only and may go \(--keep final removes them\)$/,
    );
    expect(readdirSync(at('told/checkpoints'))).toEqual(['2', '4']);
  });

  it('final: checkpoints and scratch go, the student and the logs stay; no resume goes over them', async () => {
    const out = at('kept');
    const flags = ['--backend', 'wasm', '--out', out];
    const result = await runInProcess('train', file, ...flags, '--keep', 'final');
    expect(result.code).toBe(0);
    expect(result.stderr).toMatch(
      / MB kept .*; checkpoints removed .*, so --resume cannot go on from here\n/,
    );
    const left = readdirSync(out);
    for (const name of ['checkpoints', 'scratch']) expect(left).not.toContain(name);
    for (const name of ['best', 'final', 'metrics.jsonl', 'samples', 'config.resolved.yaml', 'report.html'])
      expect(left).toContain(name);
    const student = sha256(join(out, 'final/model.safetensors'));
    expect(student).toBe(sha256(at('plain/final/model.safetensors')));
    const metrics = sha256(join(out, 'metrics.jsonl'));
    const again = await runInProcess('train', file, ...flags, '--quiet', '--resume');
    expect(again.code).toBe(2);
    expect(again.stderr).toContain(
      'the run has ended and its checkpoints were removed, so there is nothing to resume',
    );
    expect(sha256(join(out, 'metrics.jsonl'))).toBe(metrics);
  });
});
