import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { loadModel } from '../../src/models/checkpoint.js';
import { initBackend } from '../../src/tensor/backend.js';
import { disposeParams } from '../../src/tensor/params.js';
import { loadTokenizer } from '../../src/text/tokenizer.js';
import { runInProcess, sha256 } from '../helpers/cli.js';
import { everyPart, type FileWorld, worldConfig, writeConfig, writeFileWorld } from '../helpers/files.js';
import { temporaryDirectory } from '../helpers/temporary.js';

await initBackend({ backend: 'wasm' });
const place = temporaryDirectory('run-directory');
let world: FileWorld;
let config: string;
const out = join(place.path, 'runs', 'minillm');
let summary: Record<string, unknown>;

const train = (...args: string[]) => runInProcess('train', config, '--backend', 'wasm', '--quiet', ...args);
const lines = (name: string): Record<string, unknown>[] =>
  readFileSync(join(out, name), 'utf8')
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as Record<string, unknown>);

beforeAll(async () => {
  world = await writeFileWorld(place.path);
  config = writeConfig(join(place.path, 'minillm.yaml'), worldConfig(world, 'minillm'));
  const result = await train('--out', out, '--json');
  expect(result).toMatchObject({ code: 0, stderr: '' });
  summary = JSON.parse(result.stdout) as Record<string, unknown>;
});
afterAll(place.remove);

describe('a run directory', () => {
  it('holds what the contract names, and nothing else', () => {
    expect(readdirSync(out).sort()).toEqual([
      'best',
      'checkpoints',
      'config.resolved.yaml',
      'environment.json',
      'final',
      'inputs.json',
      'metrics.jsonl',
      ...readdirSync(out).filter((name) => name.startsWith('report')),
      'samples',
      'tensorboard',
      'timing.jsonl',
    ]);
    expect(existsSync(join(out, 'report.html'))).toBe(true);
    expect(readdirSync(join(out, 'tensorboard'))).toHaveLength(1);
    expect(readdirSync(join(out, 'samples')).sort()).toEqual([
      'step-0.jsonl',
      'step-3.jsonl',
      'step-6.jsonl',
    ]);
    expect(readdirSync(join(out, 'checkpoints')).sort()).toEqual(['4', '6']);
  });

  it('config.resolved.yaml: every field, paths absolute; it makes the same configuration again', async () => {
    const resolved = parse(readFileSync(join(out, 'config.resolved.yaml'), 'utf8')) as Record<
      string,
      Record<string, unknown>
    >;
    expect(resolved.student).toBe(world.student);
    expect(resolved.train).toMatchObject({ steps: 6, schedule: 'cosine', eps: 1e-8, betas: [0.9, 0.95] });
    expect(resolved.objective).toEqual({ preset: 'minillm', ...everyPart });
    const again = await runInProcess(
      'train',
      join(out, 'config.resolved.yaml'),
      '--out',
      out,
      '--resume',
      '--quiet',
      '--backend',
      'wasm',
      '--json',
    );
    expect(again).toMatchObject({ code: 0, stderr: '' });
  });

  it('environment.json', () => {
    const environment = JSON.parse(readFileSync(join(out, 'environment.json'), 'utf8')) as Record<
      string,
      unknown
    >;
    expect(environment).toMatchObject({ backend: 'wasm', threads: 1, seed: 3, node: process.version });
    expect(Object.keys(environment)).toEqual(
      expect.arrayContaining(['package', 'git_commit', 'tfjs', 'cores', 'engine']),
    );
  });

  it('metrics.jsonl: one row a step, one an evaluation; timing.jsonl what no two runs share', () => {
    const rows = lines('metrics.jsonl');
    expect(rows.map((row) => `${row.phase} ${row.step}`)).toEqual([
      ...['valid 0', 'train 1', 'train 2', 'train 3', 'valid 3', 'train 4', 'train 5', 'train 6', 'valid 6'],
    ]);
    expect(rows.map((row) => row.round)).toEqual([0, 1, 1, 1, 1, 1, 2, 2, 2]);
    for (const row of rows) {
      expect(Object.keys(row).slice(0, 4)).toEqual(['step', 'round', 'phase', 'wall_s']);
      expect(Object.values(row)).not.toContain(null);
    }
    expect(rows[0]).toHaveProperty('valid_lm_loss');
    expect(rows[0]).toHaveProperty('valid_rouge_l_sampled');
    expect(rows[0]).toHaveProperty('valid_reverse_kl_seq');
    const timing = lines('timing.jsonl');
    expect(timing).toHaveLength(6);
    for (const row of timing) {
      expect(row.tokens_per_s).toBeGreaterThan(0);
      expect(row.rss_mb).toBeGreaterThan(10);
    }
    for (const name of ['tokens_per_s', 'rss_mb', 'train_s'])
      expect(rows.some((row) => name in row)).toBe(false);
  });

  it('best/, final/ and checkpoints are model directories with their tokenizer', async () => {
    for (const name of ['best', 'final', 'checkpoints/4', 'checkpoints/6']) {
      const model = await loadModel(join(out, name));
      expect((await loadTokenizer(join(out, name))).vocabSize).toBe(model.config.vocabSize);
      expect(model.config.eosIds).toEqual([0]);
      disposeParams(model.params);
    }
    const weights = (name: string): string => sha256(join(out, name, 'model.safetensors'));
    expect(weights('final')).toBe(weights('checkpoints/6'));
    expect(weights('checkpoints/4')).not.toBe(weights('final'));
    expect(readdirSync(join(out, 'checkpoints/4/training-state')).sort()).toEqual([
      'optimizer.safetensors',
      'rollouts.jsonl',
      'state.json',
    ]);
  });

  it('the summary says what was done', () => {
    expect(summary).toMatchObject({ out, method: 'minillm', steps: 6, final: join(out, 'final') });
    const best = summary.best as { step: number; metric: string; value: number };
    expect(best.metric).toBe('rouge_l_sampled');
    const valid = lines('metrics.jsonl').filter((row) => row.phase === 'valid');
    const values = valid.map((row) => row.valid_rouge_l_sampled as number);
    expect(best.value).toBe(Math.max(...values));
    expect(best.step).toBe(valid[values.indexOf(best.value)]!.step);
  });

  it('samples: prompt, reference, text, tokens and both log-probabilities', () => {
    for (const row of lines('samples/step-6.jsonl')) {
      expect(Object.keys(row)).toEqual([
        ...['index', 'prompt', 'reference', 'text', 'tokens', 'logprobs', 'teacher_logprobs', 'finished'],
      ]);
      expect((row.tokens as unknown[]).length).toBe((row.logprobs as unknown[]).length);
    }
  });
});

describe('what is not overwritten or mixed', () => {
  const refusal = async (line: RegExp, ...args: string[]): Promise<void> => {
    const before = readFileSync(join(out, 'metrics.jsonl'), 'utf8');
    const result = await train(...args);
    expect(result.code).toBe(2);
    expect(result.stdout).toBe('');
    expect(result.stderr).toMatch(line);
    expect(result.stderr.split('\n')).toHaveLength(2);
    expect(readFileSync(join(out, 'metrics.jsonl'), 'utf8')).toBe(before);
  };

  it('a run there already, without --resume', () =>
    refusal(/holds a run already; add --resume/, '--out', out));

  it('--resume with another configuration, naming the difference', async () => {
    await refusal(
      /another configuration \(train\.steps: 6 there, 7 here, and train\.schedule cosine would have given the 6 steps/,
      '--out',
      out,
      '--resume',
      '--set',
      'train.steps=7',
    );
    await refusal(
      /another configuration \(seed: 3 there, 4 here\)/,
      '--out',
      out,
      '--resume',
      '--set',
      'seed=4',
    );
    await refusal(
      /train\.micro_batch_size: nothing there, 2 here\)/,
      '--out',
      out,
      '--resume',
      '--set',
      'train.micro_batch_size=2',
    );
  });

  it('a directory with something else in it, a file, a place that cannot be', async () => {
    const other = join(place.path, 'other');
    mkdirSync(other);
    writeFileSync(join(other, 'thesis.txt'), 'mine');
    await refusal(/is not empty and holds no run; give --out a new directory/, '--out', other);
    await refusal(/is not empty and holds no run/, '--out', other, '--resume');
    expect(readdirSync(other)).toEqual(['thesis.txt']);
    await refusal(/cannot be used as a run directory \(ENOTDIR\)/, '--out', join(other, 'thesis.txt'));
    await refusal(/cannot be used as a run directory \(ENOTDIR\)/, '--out', join(other, 'thesis.txt', 'run'));
  });

  it('says aloud when other arithmetic goes on', async () => {
    const file = join(out, 'environment.json');
    writeFileSync(file, readFileSync(file, 'utf8').replace(/"engine": "[^"]*"/, '"engine": "an abacus"'));
    const result = await runInProcess('train', config, '--out', out, '--resume', '--backend', 'wasm');
    expect(result.code).toBe(0);
    expect(result.stderr).toMatch(
      /note: engine was an abacus and is WebAssembly .*: the run goes on, perhaps not bit for bit/,
    );
  });
});
