/**
 * Our times beside PyTorch's with Hugging Face models, on this machine, in one run:
 *
 *     npm run bench:torch                     # everything, about 40 minutes
 *     npm run bench:torch -- sft score        # workloads whose names begin so
 *     npm run bench:torch -- --list
 *
 * Needs Python with torch and transformers. The two sides take turns, each turn in a process of its own (A B A B ...): a
 * machine that is slower for a while is slower for both. Writes results/compare.json and compare.md; a run of some
 * workloads replaces their rows only. Options: --alternations N (3), --threads N (2), --models DIR (runs/bench-models),
 * --python PROGRAM (python3), --tcmalloc FILE (looked for; "none" leaves it out), --results DIR.
 */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { type BackendInfo, initBackend } from '../../src/tensor/backend.js';
import { engineName } from '../../src/tensor/kernels.js';
import { measuredOn } from './measuredOn.js';
import {
  buildPackage,
  findTcmalloc,
  makeModels,
  type Place,
  pythonVersions,
  root,
  timeSide,
} from './processes.js';
import { type Row, rowsOf, TCMALLOC, type Timings, table } from './rows.js';
import { type Side, type Workload, workloads } from './workloads.js';

interface Written extends Row {
  measured: Record<string, unknown>;
}

function options() {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      list: { type: 'boolean' },
      alternations: { type: 'string', default: '3' },
      threads: { type: 'string', default: '2' },
      models: { type: 'string', default: join(root, 'runs/bench-models') },
      python: { type: 'string', default: 'python3' },
      tcmalloc: { type: 'string' },
      results: { type: 'string', default: fileURLToPath(new URL('results', import.meta.url)) },
    },
  });
  const count = (name: 'alternations' | 'threads'): number => {
    const n = Number(values[name]);
    if (!Number.isInteger(n) || n < 1) throw new Error(`--${name}: expected a whole number of at least 1`);
    return n;
  };
  return { ...values, positionals, alternations: count('alternations'), threads: count('threads') };
}

/** The workloads whose names begin with one of the words; all without words. @throws Error for a word that fits none */
export function chosen(names: readonly string[]): Workload[] {
  const unknown = names.find((name) => !workloads.some((w) => w.name.startsWith(name)));
  if (unknown !== undefined) {
    throw new Error(
      `${unknown}: no such workload; expected the beginning of ${workloads.map((w) => w.name).join(', ')}`,
    );
  }
  return workloads.filter((w) => names.length === 0 || names.some((name) => w.name.startsWith(name)));
}

/** Every side in turn, `alternations` times. */
async function alternate(
  workload: Workload,
  place: Place,
  alternations: number,
  tcmalloc: string | undefined,
): Promise<Timings> {
  const isTheirs = (side: Side): boolean => 'theirs' in side || ('wall' in side && side.wall === 'python');
  const turns = Object.entries(workload.sides).flatMap(([name, side]) => [
    { name, side, preload: undefined as string | undefined },
    ...(tcmalloc && isTheirs(side) ? [{ name: name + TCMALLOC, side, preload: tcmalloc }] : []),
  ]);
  const timings: Timings = {};
  for (let i = 0; i < alternations; i++) {
    for (const { name, side, preload } of turns) {
      const timing = await timeSide(side, place, preload);
      timings[name] = [...(timings[name] ?? []), timing];
      const memory = timing.peak_rss_mb === undefined ? '' : `, ${timing.peak_rss_mb} MB`;
      process.stderr.write(
        `${workload.name} ${i + 1}/${alternations} ${name}: ${timing.seconds.toFixed(4)} s${memory}\n`,
      );
    }
  }
  return timings;
}

/**
 * What the comparison is about is the native engine with our kernels.
 *
 * @throws Error where this process has another one
 */
export function requireNative(
  { name, reason }: Pick<BackendInfo, 'name' | 'reason'>,
  kernels: boolean,
): void {
  const mend = '"npm run -s minillm -- setup" brings it';
  if (name !== 'tensorflow') throw new Error(`the native engine is not there (${reason}); ${mend}`);
  if (!kernels)
    throw new Error(
      `the native engine is without our kernels (a GPU, MINILLM_KERNELS=off, or an addon without them); ${mend}`,
    );
}

/** Rows measured before, those of the workloads measured now replaced, in the order of the workloads. */
export function merged<R extends Pick<Row, 'workload'>>(before: readonly R[], now: readonly R[]): R[] {
  const order = workloads.map((w) => w.name);
  return [...before.filter((row) => !now.some((r) => r.workload === row.workload)), ...now].sort(
    (a, b) => order.indexOf(a.workload) - order.indexOf(b.workload),
  );
}

function rowsBefore(file: string): Written[] {
  return existsSync(file) ? (JSON.parse(readFileSync(file, 'utf8')) as { rows: Written[] }).rows : [];
}

async function main(): Promise<void> {
  const { list, positionals, alternations, threads, python, results, tcmalloc: given, models } = options();
  const work = chosen(positionals);
  if (list) {
    for (const { name, rows } of work)
      process.stdout.write(`${name.padEnd(15)} ${rows.map((r) => r.what).join('; ')}\n`);
    return;
  }
  const backend = await initBackend({ threads });
  requireNative(backend, engineName() === 'tensorflow');
  const versions = pythonVersions(python);
  const tcmalloc = given === 'none' ? undefined : (given ?? findTcmalloc());
  if (!tcmalloc) process.stderr.write('no tcmalloc here: PyTorch is timed with its default allocator only\n');
  const place: Place = { python, threads, models: resolve(models) };
  await makeModels(place, [...new Set(work.flatMap((w) => w.models))]);
  if (work.some((w) => 'built' in w.sides)) await buildPackage();
  const measured = {
    ...measuredOn(backend),
    threads,
    alternations,
    ...versions,
  };
  mkdirSync(results, { recursive: true });
  const file = join(results, 'compare.json');
  for (const workload of work) {
    const rows = rowsOf(workload, await alternate(workload, place, alternations, tcmalloc));
    process.stdout.write(`${table(rows)}\n`);
    const all = merged(
      rowsBefore(file),
      rows.map((row): Written => ({ ...row, measured })),
    );
    writeFileSync(file, `${JSON.stringify({ rows: all }, null, 2)}\n`);
    writeFileSync(join(results, 'compare.md'), table(all));
  }
  process.stdout.write(`${readFileSync(join(results, 'compare.md'), 'utf8')}\n${describe(measured)}\n`);
}

function describe(m: Record<string, unknown>): string {
  return (
    `${m.cpu}, ${m.cores} cores, ${m.memory_gb} GiB; ${m.threads} threads a side, ${m.alternations} alternations; ` +
    `${m.package}, Node ${m.node}, ${m.engine}; PyTorch ${m.torch}, transformers ${m.transformers}, Python ${m.python}`
  );
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  await main().catch((error: Error) => {
    process.stderr.write(`bench:torch: ${error.message}\n`);
    process.exitCode = 1;
  });
}
