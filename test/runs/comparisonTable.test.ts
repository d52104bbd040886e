import { mkdirSync, mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { comparisonTable, pairedTable } from '../../src/runs/comparisonTable.js';

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
