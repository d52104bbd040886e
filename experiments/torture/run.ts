/**
 * The campaign of hostile files and faults.
 *
 *     npm run torture -- --minutes 60
 *
 * Options: --minutes N (default 10; 0 only writes the page), --seed N (default 1), --parts a,b (default all), --out FOLDER (a state file a part, where
 * the same call goes on; default experiments/torture/results), --page FILE (default docs/reliability.md, made from
 * all state files of the folder). Exit code 1 when a failure is open.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { cpus, tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { commit } from '../commit.js';
import { page } from './page.js';
import type { Part, Work } from './part.js';
import { parts } from './parts/index.js';
import { openState, type PartState, readState, writeState } from './state.js';

const today = (): string => new Date().toISOString().slice(0, 10);

export interface Campaign {
  minutes: number;
  seed: number;
  parts: readonly Part[];
  /** The folder of the state files. */
  out: string;
  page: string;
  say(line: string): void;
}

/** Runs the parts one after the other, each for its share of the time. @returns how many failures are open */
export async function campaign(options: Campaign): Promise<number> {
  const able = options.parts.filter((part) => {
    const reason = part.unable?.();
    if (reason) options.say(`${part.name}: left out, ${reason}`);
    return !reason;
  });
  const shares = able.reduce((sum, part) => sum + part.share, 0);
  let open = 0;
  for (const part of able) open += await runPart(part, (60 * options.minutes * part.share) / shares, options);
  return open;
}

/** From the states of all parts: others may be running, or ran before. @param more parts that are none of the campaign's own */
function writePage(out: string, file: string, more: readonly Part[] = []): void {
  const told = [...new Set([...parts, ...more])].flatMap((part) => {
    const state = readState(out, part.name);
    return state ? [{ part, state }] : [];
  });
  writeFileSync(file, page(told));
}

const openFailures = (state: PartState) => state.failures.filter((failure) => !failure.mended);

/** @returns how many failures of the part are open */
async function runPart(part: Part, seconds: number, options: Campaign): Promise<number> {
  const { seed, out, say } = options;
  const state = openState(out, part.name, seed);
  state.sessions.push({
    started: new Date().toISOString().slice(0, 16).replace('T', ' '),
    minutes: Math.round(seconds / 6) / 10,
    commit: commit(),
    machine: `${cpus().length} × ${cpus()[0]?.model.trim()}, Node ${process.version}`,
  });
  const directory = mkdtempSync(join(tmpdir(), `torture-${part.name}-`));
  const [started, before] = [performance.now(), state.seconds];
  const elapsed = (): number => (performance.now() - started) / 1000;
  let saved = 0;
  const save = (): void => {
    saved = elapsed();
    state.seconds = before + saved;
    writeState(out, part.name, state);
    writePage(out, options.page, [part]);
  };
  const work: Work = {
    directory,
    seed,
    over() {
      if (elapsed() - saved > 20) save();
      return elapsed() > seconds;
    },
    take: () => state.next++,
    count(name, by = 1) {
      state.counts[name] = (state.counts[name] ?? 0) + by;
    },
    fact(name, value) {
      state.facts[name] = value;
    },
    fail(failure) {
      const alike = openFailures(state).find((f) => f.where === failure.where && f.what === failure.what);
      if (alike) {
        alike.times++;
        return;
      }
      state.failures.push({ ...failure, times: 1, found: today() });
      say(`${part.name}: case ${failure.case}: ${failure.where}: ${failure.what}`);
    },
  };
  try {
    for (const failure of openFailures(state)) {
      const still = await part.again(work, failure);
      if (still === undefined) failure.mended = today();
      say(`${part.name}: case ${failure.case}, ${failure.where}: ${still ?? 'mended'}`);
    }
    say(`${part.name}: ${Math.round(seconds)} s from case ${state.next}`);
    await part.run(work);
  } finally {
    save();
    rmSync(directory, { recursive: true, force: true });
  }
  const open = openFailures(state).length;
  say(`${part.name}: ${state.next} cases, ${open} open failures`);
  return open;
}

/** @throws Error naming a part that does not exist */
function chosen(names: string | undefined): Part[] {
  if (!names) return parts;
  return names.split(',').map((name) => {
    const found = parts.find((part) => part.name === name);
    if (!found) throw new Error(`${name}: no such part; expected ${parts.map((p) => p.name).join(', ')}`);
    return found;
  });
}

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      minutes: { type: 'string', default: '10' },
      seed: { type: 'string', default: '1' },
      parts: { type: 'string' },
      out: { type: 'string', default: 'experiments/torture/results' },
      page: { type: 'string', default: 'docs/reliability.md' },
    },
  });
  const [minutes, seed] = [Number(values.minutes), Number(values.seed)];
  if (!(minutes >= 0)) throw new Error(`--minutes ${values.minutes}: expected a number of at least 0`);
  if (!Number.isInteger(seed)) throw new Error(`--seed ${values.seed}: expected an integer`);
  if (minutes === 0) {
    writePage(values.out, values.page);
    return 0;
  }
  const open = await campaign({
    ...{ minutes, seed, parts: chosen(values.parts), out: values.out, page: values.page },
    say: (line) => process.stderr.write(`${new Date().toISOString().slice(11, 19)} ${line}\n`),
  });
  return open > 0 ? 1 : 0;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  process.exitCode = await main().catch((error: Error) => {
    process.stderr.write(`torture: ${error.message}\n`);
    return 2;
  });
}
