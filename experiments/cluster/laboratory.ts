/** What both laboratories do: skip with a reason, run commands in a place, compare with one process alone, write what was found. */
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { compileProgram } from '../../test/helpers/compiled.js';
import { endProcessesWith, finish, killGroup, start, until, withCleanup } from './jobs.js';
import { mpiVersion } from './machine.js';
import * as places from './place.js';
import { type Found, newFound, writeFound } from './results.js';

export interface Lab {
  place: places.Place;
  found: Found;
  say(line: string): void;
}

export interface Laboratory {
  /** Of its results. */
  name: string;
  title: string;
  /** Why it cannot run on this machine. */
  unable(): string | undefined;
  versions(): Record<string, string>;
  /** @param atEnd what must be done whatever happens, the last first */
  work(lab: Lab, atEnd: (undo: () => void) => void): Promise<void>;
}

export const inPlace = ({ place }: Lab, run: string): string => join(place.path, run);

const SET_UP = 'minillm setup --mpi';
/** The run that all others must equal. */
const ALONE = 'runs/alone';

/**
 * Runs a command to its end and compares its run with that of one process alone, which is the first.
 *
 * @param words what the command is started with, where that is more than a shell
 */
export async function toTheEnd(
  lab: Lab,
  told: { what: string; command: string; run: string; ranks: number },
  words: readonly string[] = ['sh', '-c', told.command],
): Promise<void> {
  const { what, command, run, ranks } = told;
  lab.say(`${what}: ${command}`);
  const { seconds } = await finish(words, lab.place.env, lab.place.path);
  compare(lab, { what, command, ranks, seconds, run });
}

/** Puts a run that has ended into what was found. */
export function compare(
  lab: Lab,
  told: { what: string; command: string; run: string; ranks: number; seconds: number },
): void {
  const { run, ...rest } = told;
  const differing = places.differingFiles(inPlace(lab, ALONE), inPlace(lab, run));
  lab.found.finished.push({ ...rest, ...places.bytesOf(inPlace(lab, run)), differing });
  if (differing.length > 0) {
    lab.found.wrong.push(`${told.what}: other bytes in ${differing.slice(0, 5).join(', ')}`);
  }
}

/** Sets up MPI, and makes the run that all others must equal. */
export async function oneProcess(lab: Lab): Promise<void> {
  const { said } = await finish(['sh', '-c', SET_UP], lab.place.env, lab.place.path);
  lab.found.facts[SET_UP] = said.trim();
  const command = `minillm train run.yaml --out ${ALONE}`;
  await toTheEnd(lab, { what: 'one process', command, run: ALONE, ranks: 1 });
}

/** What ends a run in the middle of its second round, and how it must end. */
export interface Ending {
  what: string;
  command: string;
  run: string;
  /** Does it. @param pid of the command */
  act(pid: number): void;
  /** What must be said. */
  line: RegExp;
  /** Seconds in which the job must end. */
  bound: number;
  /** Whether the step that was logged last must be saved; else the newest checkpoint must be one of the run that nobody ended. */
  saves: boolean;
}

/** The optimizer step in which a run's second round is half over. */
export const middle = ({ stepsPerRound }: places.Place): number =>
  stepsPerRound + Math.floor(stepsPerRound / 2);

/** Runs a command, ends it in the middle of the second round, and puts what came of it into what was found. */
export async function endInMiddle(lab: Lab, ending: Ending, words: readonly string[]): Promise<void> {
  const { what, command, run, line, bound } = ending;
  lab.say(`${what}: ${command}`);
  const job = start(words, lab.place.env, lab.place.path);
  try {
    const step = () => places.stepsLogged(inPlace(lab, run));
    await until(() => step() >= middle(lab.place) || undefined, `step ${middle(lab.place)} of ${run}`, job);
    ending.act(job.child.pid!);
    const from = performance.now();
    await until(() => job.isOver() || undefined, `the end of ${run}`, undefined, 3 * bound);
    const seconds_to_end = (performance.now() - from) / 1000;
    const { code, signal, said } = await job.ended;
    const told = line.exec(said)?.[0].replaceAll(/\s+/g, ' ').trim();
    if (told === undefined) lab.found.wrong.push(`${what}: ${line} is not said: ${said.slice(-1000)}`);
    noteStopped(lab, ending, { seconds_to_end, exit: signal ?? code!, line: told ?? '' });
  } finally {
    killGroup(job.child);
  }
}

/** Puts a run that was ended into what was found, and judges it. */
export function noteStopped(
  lab: Lab,
  { what, command, run, bound, saves }: Omit<Ending, 'act' | 'line'>,
  how: { seconds_to_end: number; exit: number | string; line: string },
): void {
  const { place, found } = lab;
  const at_step = places.stepsLogged(inPlace(lab, run));
  const newest = places.newestCheckpoint(inPlace(lab, ALONE), inPlace(lab, run));
  // A run that stops in a step saves it before its validation, and one that goes on after it.
  const checkpoint = saves ? { ...newest, state: 'not compared' as const } : newest;
  found.stopped.push({ what, command, at_step, round: roundOf(at_step, place), ...how, checkpoint });
  if (how.exit === 0) found.wrong.push(`${what}: exit code 0`);
  if (how.seconds_to_end > bound) found.wrong.push(`${what}: it took more than ${bound} s to end`);
  if (saves && checkpoint.step !== at_step) found.wrong.push(`${what}: step ${at_step} is not saved`);
  if (!saves && checkpoint.state !== 'whole') found.wrong.push(`${what}: the newest checkpoint is not whole`);
}

/** The steps of the round that a step is in. */
function roundOf(step: number, { stepsPerRound }: places.Place): [first: number, last: number] {
  const round = Math.floor((step - 1) / stepsPerRound);
  return [round * stepsPerRound + 1, (round + 1) * stepsPerRound];
}

/** Sets the exit code: 0 when everything is as it must be or the laboratory cannot run here, 1, or 2 when something broke it off. */
export async function runLaboratory(laboratory: Laboratory): Promise<void> {
  const say = (line: string) =>
    void process.stderr.write(`${new Date().toISOString().slice(11, 19)} ${line}\n`);
  process.exitCode = await attempt(laboratory, say).catch((error: Error) => {
    say(`broken off: ${error.message}`);
    return 2;
  });
}

/** Takes a place away, after all that works there: every process of it has the place in its PATH. */
function clear(path: string): void {
  endProcessesWith(path);
  rmSync(path, { recursive: true, force: true, maxRetries: 5 });
}

async function attempt({ name, title, unable, versions, work: run }: Laboratory, say: Lab['say']) {
  const { values } = parseArgs({
    options: {
      results: { type: 'string', default: join(places.root, 'experiments/cluster/results') },
      minillm: { type: 'string' },
    },
  });
  const reason = unable();
  if (reason) {
    say(`${name}: skipped: ${reason}`);
    return 0;
  }
  return withCleanup(async (atEnd) => {
    for (const path of places.abandonedPlaces()) clear(path);
    if (values.minillm === undefined) await compileProgram();
    const place = places.openPlace(values.minillm);
    atEnd(() => clear(place.path));
    const lab: Lab = { place, found: newFound(place.shards, { mpi: mpiVersion(), ...versions() }), say };
    await run(lab, atEnd);
    const { found } = lab;
    writeFound(values.results, name, title, found);
    for (const line of found.wrong) say(`wrong: ${line}`);
    say(
      `${found.finished.length} runs ended, ${found.stopped.length} were ended; ${values.results}/${name}.md`,
    );
    return found.wrong.length === 0 ? 0 : 1;
  });
}
