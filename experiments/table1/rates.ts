/** How table1 chooses its learning rates: `node experiments/table1/rates.ts OUT` prints them and writes OUT/tune.csv. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { parse } from 'yaml';
import { csv } from '../../src/report/escape.js';
import type { SweepRow } from '../../src/runs/sweepResults.js';

/** Rouge-L within this of the best is no better: the noise of one sample of 1,000 prompts. */
const TIE = 0.5;

/**
 * The learning rate of each method, and the table of all that were tried. The rule, the same for every method: among the rates whose
 * Rouge-L is within TIE of the best, the lowest reverse KL (for SFT, which has no teacher, the lowest LM loss).
 */
export function tuned(out: string): { best: Record<string, number>; table: string } {
  const { runs } = JSON.parse(readFileSync(join(out, 'tune', 'sweep.json'), 'utf8')) as { runs: SweepRow[] };
  const methods = [...new Set(runs.map(({ fields }) => String(fields.method)))];
  const value = ({ metrics: found }: SweepRow, name: string): number => found[name]!.mean;
  const best: Record<string, number> = {};
  for (const method of methods) {
    const rows = runs.filter(({ fields }) => fields.method === method);
    const most = Math.max(...rows.map((row) => value(row, 'rouge_l_sampled')));
    const level = rows.filter((row) => value(row, 'rouge_l_sampled') >= most - TIE);
    const by = method === 'sft' ? 'lm_loss' : 'reverse_kl_token';
    const chosen = level.reduce((a, b) => (value(b, by) < value(a, by) ? b : a));
    best[method] = Number(chosen.fields['train.lr']);
  }
  const columns = ['rouge_l_sampled', 'reverse_kl_token', 'lm_loss'];
  const table = csv(
    ['method', 'lr', ...columns, 'chosen'],
    runs.map(({ fields, metrics: found }) => [
      ...[String(fields.method), Number(fields['train.lr'])],
      ...columns.map((name) => found[name]?.mean),
      best[String(fields.method)] === fields['train.lr'] ? 'yes' : '',
    ]),
  );
  return { best, table };
}

/** @throws Error when the learning rates in a sweep's file are not those that the tuning found best */
export function checkRates(best: Record<string, number>, file: string): void {
  const { methods } = parse(readFileSync(file, 'utf8')) as {
    methods: Record<string, Record<string, number>>;
  };
  for (const [method, lr] of Object.entries(best)) {
    if (methods[method]?.['train.lr'] !== lr)
      throw new Error(
        `${file}: methods.${method}.train.lr: the tuning found ${lr}; write it there and run again`,
      );
  }
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  const out = process.argv[2] ?? 'runs/experiments/table1';
  const { best, table } = tuned(out);
  writeFileSync(join(out, 'tune.csv'), table);
  process.stdout.write(`${JSON.stringify(best)}\n`);
}
