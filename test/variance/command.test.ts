import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { initBackend } from '../../src/tensor/backend.js';
import type { EstimatorResult } from '../../src/variance/results.js';
import { runInProcess } from '../helpers/cli.js';
import {
  type FileWorld,
  worldConfig,
  writeConfig,
  writeFileWorld,
  writeTinyModel,
  writeTinyTokenizer,
} from '../helpers/files.js';
import { temporaryDirectory } from '../helpers/temporary.js';
import { checkXml } from '../report/xml.js';

await initBackend({ backend: 'wasm' });
const place = temporaryDirectory('variance');
const at = (name: string): string => join(place.path, name);
let world: FileWorld;
beforeAll(async () => {
  world = await writeFileWorld(place.path);
});
afterAll(place.remove);

const variance = (...args: string[]) => runInProcess('variance', ...args, '--backend', 'wasm');
const pair = (): string[] => [
  ...['--student', world.student, '--teacher', world.teacher, '--data', world.train],
  ...['--template', 'none', '--max-new-tokens', '4', '--prompts', '3', '--samples', '2', '--repeats', '4'],
];
const few = ['--estimators', 'sampled/none/none/independent/0,*/value/none/independent/0,preset/lmops'];

interface Output {
  estimators: EstimatorResult[];
  rollouts: number;
  reference: string;
  scalar_products: { kind: string; dimensions: number };
}
const withoutTimes = ({ estimators, ...rest }: Output) => ({
  ...rest,
  estimators: estimators
    .map(({ cost: { sampling_s: _, gradient_s: __, ...tokens }, ...row }) => ({
      ...row,
      ...tokens,
    }))
    .sort((a, b) => (a.name < b.name ? -1 : 1)),
});

describe('minillm variance', () => {
  it('table, JSON, CSV and figure; the same seed gives the same numbers; a second call measures nothing again', async () => {
    const out = at('out');
    const first = await variance(...pair(), ...few, '--json', '--out', out, '--figure', at('figure.svg'));
    expect(first.code, first.stderr).toBe(0);
    expect(first.stderr).toMatch(/variance 28\/28/);
    const json = JSON.parse(first.stdout) as Output;
    expect(json.estimators.map(({ name }) => name).sort()).toEqual(
      [
        'gae-rao-blackwell/value/none/independent/0',
        'gae/value/none/independent/0',
        'preset/lmops',
        'rao-blackwell/none/none/independent/0',
        'rao-blackwell/value/none/independent/0',
        'sampled/none/none/independent/0',
        'sampled/value/none/independent/0',
      ].sort(),
    );
    expect(json).toMatchObject({
      rollouts: 6,
      reference: 'rao-blackwell/none/none/independent/0',
      scalar_products: { kind: 'exact' },
    });
    for (const row of json.estimators) {
      expect(row.variance.value).toBeGreaterThan(0);
      expect(row.variance.interval[0]).toBeLessThanOrEqual(row.variance.value);
      const { student_tokens, teacher_tokens, response_tokens, computation } = row.cost;
      const packed = 2 * (teacher_tokens - response_tokens) + response_tokens;
      const value = row.baseline === 'value' ? packed : 0;
      expect(student_tokens).toBeCloseTo(teacher_tokens + packed + value, 9);
      // Student and teacher are of one size here: both read while sampling.
      expect(computation).toBeCloseTo(2 * teacher_tokens + 3 * packed + value, 9);
      expect(row.variance_computation).toBeCloseTo(row.variance.value * computation, 9);
      expect(row.effective_sample_size).toBeLessThanOrEqual(1);
    }
    expect(JSON.parse(readFileSync(join(out, 'variance.json'), 'utf8'))).toEqual(json);
    const csv = readFileSync(join(out, 'variance.csv'), 'utf8').trimEnd().split('\n');
    expect(csv).toHaveLength(8);
    expect(csv[1]!.split(',')).toHaveLength(csv[0]!.split(',').length);
    const svg = readFileSync(at('figure.svg'), 'utf8');
    expect(svg).toBe(readFileSync(join(out, 'variance.svg'), 'utf8'));
    checkXml(svg);
    expect(svg).toContain('sampled/value/none/independent/0');

    const again = await variance(...pair(), ...few, '--json', '--quiet');
    expect(withoutTimes(JSON.parse(again.stdout) as Output)).toEqual(withoutTimes(json));
    expect(again.stderr).toBe('');

    const known = await variance(...pair(), ...few, '--out', out);
    expect(known.stderr).toMatch(/7 of 7 estimators were measured before/);
    expect(known.stderr).not.toMatch(/gradient/);
    const lines = known.stdout.trimEnd().split('\n');
    expect(lines).toHaveLength(8);
    expect(lines[0]).toMatch(/^estimator +rollouts +rel. rollouts +variance +rel. variance/);

    // What is missing is measured, with the reference's gradients made once more.
    const file = join(out, 'measurements.jsonl');
    const rows = readFileSync(file, 'utf8').split('\n');
    writeFileSync(file, rows.filter((row) => !row.includes('"sampled/')).join('\n'));
    const mended = await variance(...pair(), ...few, '--json', '--out', out);
    expect(mended.stderr).toMatch(/5 of 7 estimators were measured before/);
    expect(withoutTimes(JSON.parse(mended.stdout) as Output)).toEqual(withoutTimes(json));
  });

  it('projections come close, another seed does not give the same', async () => {
    const run = async (...more: string[]): Promise<EstimatorResult> => {
      const { stdout } = await variance(
        ...pair(),
        '--estimators',
        'sampled/none/none',
        '--json',
        '--quiet',
        ...more,
      );
      return (JSON.parse(stdout) as Output).estimators.find(({ returns }) => returns === 'sampled')!;
    };
    const exact = await run();
    const sketched = await run('--projections', '4096');
    expect(sketched.variance.value / exact.variance.value).toBeGreaterThan(0.9);
    expect(sketched.variance.value / exact.variance.value).toBeLessThan(1.1);
    expect((await run('--seed', '2')).variance.value).not.toBe(exact.variance.value);
    expect((await run('--fresh-prompts')).squared_norm.value).not.toBe(exact.squared_norm.value);
    // The target scales the rollouts, and nothing else.
    const twice = await run('--snr', '2');
    expect(twice.rollouts_needed.value).toBeCloseTo(2 * exact.rollouts_needed.value, 9);
    expect(twice.variance).toEqual(exact.variance);
  });

  it('--run takes student, teacher, data and objective from a training run', async () => {
    const config = writeConfig(
      at('run.yaml'),
      worldConfig(world, 'minillm', { train: { steps: 2 }, objective: { length_norm: 'off', gamma: 0.9 } }),
    );
    const trained = await runInProcess('train', config, '--out', at('run'), '--backend', 'wasm', '--quiet');
    expect(trained.code, trained.stderr).toBe(0);
    const args = ['--run', at('run'), '--prompts', '2', '--samples', '2', '--repeats', '2', '--json'];
    const result = await variance(...args, '--estimators', 'preset/paper', '--set', 'gamma=1');
    expect(result.code, result.stderr).toBe(0);
    expect(JSON.parse(result.stdout)).toMatchObject({
      student: at('run/final'),
      teacher: world.teacher,
      data: world.valid,
      objective: { length_norm: 'off', gamma: 1, returns: 'rao-blackwell' },
    });
    rmSync(at('run/final'), { recursive: true });
    const best = await variance(...args, '--estimators', 'preset/paper', '--quiet');
    expect(JSON.parse(best.stdout)).toMatchObject({ student: at('run/best') });
  });
});

describe('bad input is one line', () => {
  beforeAll(async () => {
    writeTinyTokenizer(at('other'), 'h');
    await writeTinyModel(at('other'), 9);
    writeTinyTokenizer(at('other'), 'h');
  });
  const cases: [name: string, args: () => string[], message: RegExp][] = [
    [
      'nothing',
      () => [],
      /variance: --student is missing; give --student, --teacher and --data, or --run DIR/,
    ],
    ['no data', () => pair().slice(0, 4), /variance: --data is missing/],
    ['one repeat', () => [...pair(), '--repeats', '1'], /--repeats 1: a variance needs at least 2/],
    ['both kinds of choice', () => [...pair(), '--all', ...few], /either --all or --estimators/],
    [
      'an unknown estimator',
      () => [...pair(), '--estimators', 'x/y'],
      /--estimators x\/y: no such estimator/,
    ],
    ['an unknown switch', () => [...pair(), '--set', 'x=1'], /--set x=1: no such switch/],
    ['an unknown template', () => [...pair(), '--template', 'x'], /--template x: expected one of alpaca/],
    [
      'too many prompts',
      () => [...pair(), '--prompts', '17'],
      /--prompts 17: .*train\.jsonl has 16; lower it/,
    ],
    [
      'too many fresh prompts',
      () => [...pair(), '--prompts', '5', '--fresh-prompts'],
      /--prompts 5 for each of 4 repeats: .*train\.jsonl has 16; lower it/,
    ],
    [
      'a response longer than the context',
      () => [...pair(), '--max-new-tokens', '24'],
      /--max-new-tokens 24: .* 24/,
    ],
    ['no run', () => ['--run', at('nowhere')], /--run .*nowhere: no config\.resolved\.yaml there/],
    ['an infinite target', () => [...pair(), '--snr', 'x'], /--snr/],
    [
      'no samples for the baseline',
      () => [...pair(), '--samples', '1', '--estimators', '*/leave-one-out'],
      /no such/,
    ],
    [
      'another tokenizer',
      () => [...pair(), '--teacher', at('other')],
      /student and teacher have different tokenizers/,
    ],
  ];
  it.each(cases)('%s', async (_, args, message) => {
    const { code, stdout, stderr } = await variance(...args(), '--quiet');
    expect(stderr).toMatch(message);
    expect(stderr.split('\n')).toHaveLength(2);
    expect(stdout).toBe('');
    expect(code).toBe(2);
  });

  it('another setting in the same directory', async () => {
    const args = [...pair(), '--estimators', 'preset/paper', '--out', at('kept'), '--quiet'];
    expect((await variance(...args)).code).toBe(0);
    const { code, stderr } = await variance(...args, '--seed', '9');
    expect(code).toBe(2);
    expect(stderr).toMatch(
      /setting\.json: seed was 1 and is 9; measure into another directory, or as before\n$/,
    );
    expect(existsSync(at('kept/variance.json'))).toBe(true);
  });
});
