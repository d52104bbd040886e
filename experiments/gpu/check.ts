import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { precisions } from '../../src/tensor/backend.js';
import { run, which } from '../../src/tensor/provision/process.js';
import { benchmark } from './bench.js';
import { cpuCheck, cpuMaterial } from './cpu.js';
import { failures, oneLine, type Row, rowOf, tableOf } from './rows.js';

/** A check in a process of its own, and the seconds that it may take. */
interface Part {
  name: string;
  args: string[];
  seconds: number;
  /** A program to run it under, whose last lines sum up. */
  under?: string[];
}

const USAGE = `check.sh [--emulator] [--only PART,...] [--minutes 8] [--python python3]
  --emulator   the kernels on the processor, tiny shapes: shows that the check itself works (needs a C++ compiler)
  --only       of engine, kernels, parity, suites, smoke, leak, sanitizer, cpu, benchmark
`;

/** The part `check`: every part in turn, each within its time; the table last. Exit code 1 when something failed. */
export async function check(args: readonly string[]): Promise<void> {
  const { values } = parseArgs({
    args: [...args],
    options: {
      emulator: { type: 'boolean', default: false },
      only: { type: 'string' },
      minutes: { type: 'string', default: '8' },
      python: { type: 'string', default: 'python3' },
      help: { type: 'boolean' },
    },
  });
  if (values.help) return void process.stdout.write(USAGE);
  if (values.emulator) process.env.MINILLM_CUDA_EMULATOR ??= '1';
  const emulated = Boolean(process.env.MINILLM_CUDA_EMULATOR);
  const only = values.only?.split(',');
  const wanted = (name: string): boolean => !only || only.includes(name);
  // Ten seconds for the table and for what ends late.
  const deadline = performance.now() + Number(values.minutes) * 60_000 - 10_000;
  const left = (): number => (deadline - performance.now()) / 1000;
  const rows: Row[] = [];
  const onRow = (row: Row): void => {
    rows.push(row);
    process.stdout.write(`${row.state.padEnd(8)} ${row.part}: ${row.what}  ${row.note}\n`);
  };
  const skip = (part: string, note: string): void => onRow({ part, what: 'all', state: 'skipped', note });

  const parts = [...checks(emulated), ...sanitizers(emulated)].filter(({ name }) =>
    wanted(name.split(' ')[0]!),
  );
  // The emulator may have to be compiled first.
  const engine: Part = { name: 'engine', args: ['engine'], seconds: emulated ? 240 : 60 };
  const opens = only?.join() === 'cpu' || (await runPart(engine, left(), onRow));
  for (const group of inGroups(parts)) {
    if (!opens) skip(group[0]!.name, 'the engine does not open');
    else if (left() < 5) skip(group[0]!.name, 'no time left');
    else await Promise.all(group.map((part) => runPart(part, left(), onRow)));
  }
  if (wanted('sanitizer') && sanitizers(emulated).length === 0)
    skip('sanitizer', emulated ? 'there is no card' : 'compute-sanitizer is not installed');
  const material = cpuMaterial();
  if (wanted('cpu')) {
    if (material)
      await cpuCheck({
        material,
        python: values.python,
        seconds: Math.min(left(), only ? left() : 150),
        onRow,
      });
    else skip('cpu', 'the pack was made without --cpu');
  }
  if (wanted('benchmark')) {
    if (opens) await benchmark({ emulated, deadline, python: values.python, onRow });
    else skip('benchmark', 'the engine does not open');
  }
  finish(rows);
}

function finish(rows: readonly Row[]): void {
  const failed = failures(rows);
  const count = (state: Row['state']): number => rows.filter((row) => row.state === state).length;
  const table = tableOf(rows);
  writeFileSync('results.md', table);
  writeFileSync('results.json', `${JSON.stringify(rows, null, 1)}\n`);
  const total = `${count('ok')} checks hold, ${failed} failed, ${count('skipped')} skipped, ${count('measured')} measured`;
  process.stdout.write(`\n${table}\n${total}; also in results.md and results.json\n`);
  process.exitCode = failed > 0 ? 1 : 0;
}

function checks(emulated: boolean): Part[] {
  const parts: Part[] = [
    { name: 'kernels', args: ['kernels'], seconds: 120 },
    { name: 'parity', args: ['parity'], seconds: 90 },
    // On the emulator `npm test` runs them all.
    {
      name: 'suites',
      args: ['suites', ...(emulated ? ['MiniLLM loss against the oracle'] : [])],
      seconds: 120,
    },
    ...precisions.map((precision) => ({
      name: `smoke ${precision}`,
      args: ['smoke', precision],
      seconds: 90,
    })),
    { name: 'leak', args: ['leak'], seconds: 60 },
  ];
  return emulated ? parts.map((part) => ({ ...part, seconds: 2 * part.seconds })) : parts;
}

/** compute-sanitizer's tools on the kernels at small sizes, where it is installed. */
function sanitizers(emulated: boolean): Part[] {
  const places = [process.env.CUDA_HOME, '/usr/local/cuda', '/opt/cuda'].map((home) =>
    join(home ?? '', 'bin/compute-sanitizer'),
  );
  const tool = emulated ? undefined : (which('compute-sanitizer') ?? places.find((path) => existsSync(path)));
  if (!tool) return [];
  return ['memcheck', 'racecheck'].map((name) => ({
    name: `sanitizer ${name}`,
    args: ['kernels', '--small', 'float32'],
    seconds: 60,
    under: [tool, '--tool', name, '--error-exitcode', '7', '--target-processes', 'all'],
  }));
}

/** One after the other, but the smoke runs of all precisions side by side: they wait for starts most of the time. */
function inGroups(parts: readonly Part[]): Part[][] {
  const groups: Part[][] = [];
  for (const part of parts) {
    const last = groups.at(-1);
    if (last && [part, last[0]!].every(({ name }) => name.startsWith('smoke'))) last.push(part);
    else groups.push([part]);
  }
  return groups;
}

/** Runs a part to its end and takes its rows over. @returns whether all went well */
async function runPart(part: Part, left: number, onRow: (row: Row) => void): Promise<boolean> {
  const seconds = Math.min(part.seconds, left);
  const [program, ...args] = [
    ...(part.under ?? []),
    process.execPath,
    ...process.execArgv,
    process.argv[1]!,
    'gpu',
    ...part.args,
  ];
  const done = await run(program!, args, { timeoutMs: seconds * 1000 });
  const rows = done.stdout.split('\n').flatMap((line) => rowOf(part.name, line) ?? []);
  if (part.under) onRow(summary(part, rows, done, seconds));
  else for (const row of rows) onRow(row);
  if (done.status === 0 && rows.length > 0) return failures(rows) === 0;
  if (part.under) return false;
  const why = done.trouble
    ? `stopped after ${seconds.toFixed(0)} s`
    : (done.stderr.trim().split('\n').at(-1) ?? '');
  onRow({
    part: part.name,
    what: 'runs to its end',
    state: 'FAILED',
    note: oneLine(why || `status ${done.status}`),
  });
  return false;
}

/** A part under a tool is one row: what the tool says at its end. */
function summary(
  part: Part,
  rows: readonly Row[],
  done: Awaited<ReturnType<typeof run>>,
  seconds: number,
): Row {
  const said = [...(done.stdout + done.stderr).matchAll(/^=+ (.*SUMMARY.*)$/gm)].map(([, text]) => text!);
  const row = { part: part.name, what: `kernels, small sizes (${rows.length} rows)` };
  if (done.trouble) return { ...row, state: 'skipped', note: `did not end within ${seconds.toFixed(0)} s` };
  const note = oneLine(said.join('; ') || done.stderr);
  return { ...row, state: done.status === 0 && failures(rows) === 0 ? 'ok' : 'FAILED', note };
}
