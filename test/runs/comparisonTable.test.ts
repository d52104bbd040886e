import { mkdirSync, mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { UsageError } from '../../src/errors.js';
import { comparisonTable, pairedTable } from '../../src/runs/comparisonTable.js';
import type { Sweep, SweepRun } from '../../src/runs/sweepConfig.js';
import { sweepResults } from '../../src/runs/sweepResults.js';

const root = mkdtempSync(join(tmpdir(), 'comparison-'));
function run(name: string, lmLoss: number[], extra: object = {}): string {
  const directory = join(root, name);
  mkdirSync(directory);
  const mean = lmLoss.reduce((sum, x) => sum + x, 0) / lmLoss.length;
  const metrics = {
    lm_loss: { mean, stderr: 0.25, n: lmLoss.length },
    empty: { mean: 0.5, stderr: null, n: 1 },
  };
  const json = { metrics, per_prompt: { lm_loss: lmLoss }, ...extra };
  writeFileSync(join(directory, 'evaluation.json'), JSON.stringify(json));
  return directory;
}
const a = run('a', [1, 2, 3, 4], { steps: 20, train_seconds: 12.4 });
const b = run('b', [2, 3, 4, 5]);

it('prints mean, standard error, steps and seconds; shares in per cent; a dash for what is missing', async () => {
  const [head, first, second] = (await comparisonTable([a, b])).split('\n');
  expect(head!.trim().split(/ {2,}/)).toContain('LM loss');
  expect(first!.trim().split(/\s+/)).toEqual([
    ...'a - - - - -'.split(' '),
    '2.500',
    '±0.250',
    '-',
    '-',
    '50.0',
    '20',
    '12',
  ]);
  expect(second!.trim().split(/\s+/).slice(-3)).toEqual(['50.0', '-', '-']);
});

it('pairs prompts: a constant difference has no spread, whatever the spread of the prompts', async () => {
  const [head, line] = (await pairedTable(a, [b])).split('\n');
  expect(head!.trim().split(/ {2,}/)).toEqual(['difference', 'LM loss']);
  expect(line).toBe('a − b       -1.000 [-1.000, -1.000]');
});

it('does not pair runs of different prompts', async () => {
  const short = run('short', [1, 2]);
  expect((await pairedTable(a, [short])).split('\n')[1]!.trim().split(/ {2,}/)).toEqual(['a − short', '-']);
});

it.each([
  [
    '{"metrics":',
    /evaluation\.json: not valid JSON; delete it, and evaluate the model again with eval --run$/,
  ],
  ['{"metrics":null}', /evaluation\.json: metrics: Invalid input: expected record, received null$/],
  [
    '{"metrics":{"lm_loss":{"mean":"2"}}}',
    /evaluation\.json: metrics\.lm_loss\.mean: Invalid input: expected number/,
  ],
  [
    '{"metrics":{},"per_prompt":{"lm_loss":[1,"2"]}}',
    /evaluation\.json: per_prompt\.lm_loss\.1: Invalid input/,
  ],
])('says what is wrong with a damaged evaluation: %s', async (text, line) => {
  const damaged = mkdtempSync(join(root, 'damaged-'));
  writeFileSync(join(damaged, 'evaluation.json'), text);
  await expect(comparisonTable([damaged])).rejects.toThrow(line);
  await expect(pairedTable(a, [damaged])).rejects.toThrow(line);
  await expect(comparisonTable([damaged])).rejects.toBeInstanceOf(UsageError);
});

it('so does the table of a sweep', () => {
  const directory = mkdtempSync(join(root, 'sweep-'));
  const told = (text: string): unknown => {
    writeFileSync(join(directory, 'evaluation.json'), text);
    const run = { name: 'a', fields: {}, config: { student: 's', train: { steps: 1 } } };
    const sweep = {
      axes: [],
      budget: { kind: 'steps' },
      evaluate: { model: 'final', data: 'd', seeds: [1] },
    };
    return sweepResults(sweep as unknown as Sweep, [{ run: run as unknown as SweepRun, directory }]).groups;
  };
  expect(told('{"metrics":{"lm_loss":{"mean":2,"stderr":0.5}}}')).toEqual([
    { fields: {}, seeds: 1, metrics: { lm_loss: { mean: 2, stderr: null } } },
  ]);
  expect(() => told('{')).toThrow(/evaluation\.json: not valid JSON/);
  expect(() => told('{"metrics":{"lm_loss":3}}')).toThrow(
    /evaluation\.json: metrics\.lm_loss: Invalid input/,
  );
});

it('a mean that was not finite is no zero', async () => {
  const file = mkdtempSync(join(root, 'infinite-'));
  writeFileSync(join(file, 'evaluation.json'), '{"metrics":{"lm_loss":{"mean":null,"stderr":null,"n":1}}}');
  expect(await comparisonTable([file])).toContain('NaN');
});
