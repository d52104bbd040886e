/**
 * Several ranks on this machine: against one process with as many threads, and against what `plan` says.
 *
 *     npx tsx experiments/cluster/measure.ts [--turns 3] [--repeat 2] [--out DIR]
 *     npx tsx experiments/cluster/measure.ts --pieces "tiny sft" --only plan
 *
 * Needs an MPI and `minillm setup --mpi`. Sides take turns, for the machine may have other work; its load is told. Prints tables; with
 * --out also writes them as measure.md, and all numbers as measure.json.
 */
import { spawnSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { cpus, loadavg } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { median } from '../../src/bench/measure.js';
import type { RankRequest, RankResult } from './rank.js';
import { type PieceName, pieces } from './work.js';

const { values } = parseArgs({
  options: {
    turns: { type: 'string', default: '3' },
    repeat: { type: 'string', default: '2' },
    pieces: { type: 'string', default: Object.keys(pieces).join() },
    only: { type: 'string' },
    out: { type: 'string' },
  },
});
const [turns, repeat] = [Number(values.turns), Number(values.repeat)];
const names = values.pieces.split(',') as PieceName[];
const unknown = names.find((name) => !(name in pieces));
if (unknown !== undefined)
  throw new Error(`--pieces: ${unknown} is none of ${Object.keys(pieces).join(', ')}`);
const rankFile = fileURLToPath(new URL('./rank.ts', import.meta.url));
const started = loadavg()[0]!;

/** One process, or so many ranks that share the work. */
function measured(ranks: number, request: RankRequest): RankResult {
  const program = [process.execPath, '--import', 'tsx', rankFile, JSON.stringify(request)];
  const mpirun = ['mpirun', '--allow-run-as-root', '--oversubscribe', '--bind-to', 'none', '-np', `${ranks}`];
  const [command, ...args] = ranks > 1 ? [...mpirun, ...program] : program;
  const { status, stdout, stderr, error } = spawnSync(command!, args, { encoding: 'utf8' });
  if (error) throw error;
  if (status !== 0) throw new Error(`${ranks} ranks: ${stderr.trim().split('\n').at(-1)}`);
  return JSON.parse(stdout.trim().split('\n').at(-1)!) as RankResult;
}

const round2 = (x: number): string => x.toFixed(2);
const share = (part: number, all: number): string => `${((100 * part) / all).toFixed(1)} %`;

/** Two ranks of one thread against one process of two threads; the same shards, so the same numbers but for last bits of threads. */
function againstThreads(piece: PieceName): { row: string[]; results: RankResult[] } {
  const shared = { piece, shards: 2, repeat, plan: false };
  const [one, two]: [RankResult[], RankResult[]] = [[], []];
  for (let i = 0; i < turns; i++) {
    one.push(measured(1, { ...shared, threads: 2 }));
    two.push(measured(2, { ...shared, threads: 1 }));
  }
  const ratios = two.map(({ seconds }, i) => median(seconds) / median(one[i]!.seconds));
  const quickest = (results: RankResult[]): number => Math.min(...results.map((r) => r.quickest));
  const [all, waited] = [two.flatMap((r) => r.seconds), two.flatMap((r) => r.waited)];
  return {
    row: [
      piece,
      `${round2(median(one.flatMap((r) => r.seconds)))} s`,
      `${round2(median(all))} s`,
      `${round2(median(ratios))} (${round2(Math.min(...ratios))}–${round2(Math.max(...ratios))})`,
      round2(quickest(two) / quickest(one)),
      round2(median(two.map(({ cpu_s }, i) => cpu_s / one[i]!.cpu_s))),
      share(median(waited), median(all)),
      `${Math.max(...one.flatMap((r) => r.rss_mb))}`,
      `${Math.max(...two.flatMap((r) => r.rss_mb))}`,
    ],
    results: [...one, ...two],
  };
}

/** The plan for 1, 2 and 4 ranks, with speeds that the ranks measured while the others did, against the same work done. */
function againstPlan(piece: PieceName): { rows: string[][]; results: RankResult[] } {
  const shared = { piece, shards: 4, repeat, threads: 1, plan: true };
  const results: RankResult[] = [];
  for (let i = 0; i < turns; i++) for (const ranks of [1, 2, 4]) results.push(measured(ranks, shared));
  const rows = [1, 2, 4].map((ranks) => {
    const own = results.filter((result) => result.ranks === ranks);
    const planned = own.map((r) => r.planned!.find((time) => time.ranks === ranks)!);
    const errors = own.map((r, i) => planned[i]!.total / median(r.seconds));
    const exchange = planned.map(({ per_step }) => (per_step.exchange ?? 0) / per_step.total);
    return [
      piece,
      `${ranks}`,
      `${round2(median(planned.map(({ total }) => total)))} s`,
      `${round2(median(own.flatMap((r) => r.seconds)))} s`,
      `${round2(median(errors))} (${round2(Math.min(...errors))}–${round2(Math.max(...errors))})`,
      share(median(exchange), 1),
      share(median(own.flatMap((r) => r.waited)), median(own.flatMap((r) => r.seconds))),
    ];
  });
  return { rows, results };
}

function table(head: string[], rows: readonly string[][]): string {
  const line = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`;
  return [line(head), line(head.map((_, i) => (i === 0 ? '---' : '--:'))), ...rows.map(line)].join('\n');
}

const threads = values.only === 'plan' ? [] : names.map(againstThreads);
const plans = values.only === 'threads' ? [] : names.map(againstPlan);
const load = `${cpus().length} cores (${cpus()[0]!.model}), load ${round2(started)} at the start and ${round2(loadavg()[0]!)} at the end; ${turns} turns of ${repeat} runs`;
const text = [
  load,
  ...(threads.length > 0
    ? [
        table(
          [
            ...[
              'work',
              '1 process, 2 threads',
              '2 ranks, 1 thread',
              'ratio of times (range)',
              'of the quickest steps',
              'of processor time',
            ],
            ...['waiting for messages', 'MB, 1 process', 'MB, a rank'],
          ],
          threads.map(({ row }) => row),
        ),
      ]
    : []),
  ...(plans.length > 0
    ? [
        table(
          [
            'work',
            'ranks',
            'planned',
            'measured',
            'planned / measured',
            'exchange, planned',
            'waiting, measured',
          ],
          plans.flatMap(({ rows }) => rows),
        ),
      ]
    : []),
].join('\n\n');
console.log(text);
if (values.out !== undefined) {
  mkdirSync(values.out, { recursive: true });
  writeFileSync(join(values.out, 'measure.md'), `${text}\n`);
  const results = { load, threads: threads.map((t) => t.results), plans: plans.map((p) => p.results) };
  writeFileSync(join(values.out, 'measure.json'), `${JSON.stringify(results, null, 1)}\n`);
}
