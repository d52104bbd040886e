import { type ChildProcess, fork } from 'node:child_process';
import { mkdirSync, readFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Order, Report } from '../files/child.js';
import type { Failure, Part, Work } from '../part.js';

const CHILD = fileURLToPath(new URL('../files/child.ts', import.meta.url));
/** Cases in an order. */
const BATCH = 500;
/** Seconds of computation that a case may take. */
const PATIENCE = 10;
/** Cases after which memory should grow no more, and how much it may all the same (MiB). */
const WARM = 20_000;
const GROWTH = 150;

/** The process that does the cases; another takes its place when it hangs or dies. */
class Runner {
  private child: ChildProcess | undefined;
  private said = '';

  constructor(readonly directory: string) {
    for (const name of ['cwd', 'home', 'tmp', 'guard', 'targets'])
      mkdirSync(join(directory, name), { recursive: true });
  }

  /** @returns the report, or what became of the process and the case that it was at */
  async order(order: Order): Promise<Report | { at: number; where: string; what: string }> {
    const child = this.child ?? (await this.start());
    return new Promise((done) => {
      let last = '';
      let since = busySeconds(child);
      const lost = (what: string): void => {
        stop();
        child.kill('SIGKILL');
        this.child = undefined;
        const now = this.progress();
        done({ at: Number(now.slice(0, 15)), where: now.slice(16).trim(), what });
      };
      const watch = setInterval(() => {
        const now = this.progress();
        if (now !== last) [last, since] = [now, busySeconds(child)];
        else if (busySeconds(child) - since > PATIENCE) lost(`hung: more than ${PATIENCE} s of computation`);
      }, 500);
      const onMessage = (report: Report): void => {
        stop();
        done(report);
      };
      const onExit = (code: number | null, signal: string | null): void =>
        lost(
          `the process ended (${signal ?? `exit code ${code}`}): ${this.said.trim().split('\n')[0]?.slice(0, 160) ?? ''}`,
        );
      const stop = (): void => {
        clearInterval(watch);
        child.off('message', onMessage).off('exit', onExit);
      };
      child.on('message', onMessage).on('exit', onExit);
      child.send(order);
    });
  }

  close(): void {
    this.child?.kill('SIGKILL');
  }

  private progress(): string {
    return readFileSync(join(this.directory, 'progress'), 'utf8');
  }

  private async start(): Promise<ChildProcess> {
    const at = (name: string): string => join(this.directory, name);
    const child = fork(CHILD, [this.directory], {
      cwd: at('cwd'),
      execArgv: ['--import', import.meta.resolve('tsx'), '--max-old-space-size=1500'],
      env: { ...process.env, HOME: at('home'), XDG_CACHE_HOME: at('home'), TMPDIR: at('tmp') },
      stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
    });
    this.child = child;
    this.said = '';
    for (const stream of [child.stdout!, child.stderr!])
      stream.on('data', (text) => {
        this.said = (this.said + String(text)).slice(-4000);
      });
    await new Promise<void>((ready, failed) => {
      child.once('message', () => ready());
      child.once('exit', () => failed(new Error(`the process of the cases did not start: ${this.said}`)));
    });
    return child;
  }
}

/**
 * Seconds that a process has computed: on a machine that is busy with other things ten seconds by the clock say little. Where they
 * cannot be read, seconds by the clock.
 */
function busySeconds({ pid }: ChildProcess): number {
  try {
    const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]!.split(' ');
    return (Number(fields[11]) + Number(fields[12])) / 100;
  } catch {
    return Date.now() / 1000;
  }
}

/** Memory of one process over its cases. */
class Memory {
  private cases = 0;
  private warm: number | undefined;

  /** @returns what is wrong with it */
  take({ done, rss }: Report, work: Work): string | undefined {
    const mib = Math.round(rss / 2 ** 20);
    this.cases += done;
    if (this.cases < WARM) return undefined;
    this.warm ??= mib;
    // A short call has nothing to say about it, and would overwrite what a long one measured.
    if (this.cases >= 5 * WARM)
      work.fact(
        'resident memory of a process',
        `${this.warm} MiB after ${WARM} cases, ${mib} MiB after ${this.cases}`,
      );
    if (mib <= this.warm + GROWTH) return undefined;
    const what = `memory grew from ${this.warm} to ${mib} MiB in ${this.cases - WARM} cases`;
    this.warm = mib; // told once for every step
    return what;
  }
}

function tell(work: Work, report: Report): void {
  work.count('mutated inputs', report.done);
  work.count('refused in one line that names the file', report.refused);
  work.count('read all the same, or noted', report.done - report.refused - report.wrong.length);
  for (const [target, n] of Object.entries(report.byTarget)) work.count(`· ${target}`, n);
  for (const { case: n, where, what } of report.wrong) work.fail({ case: n, where, what });
}

const runners = new Map<string, Runner>();
/** One for a directory: what it made there at its start serves the cases that are done again and the new ones. */
function runnerAt(place: string): Runner {
  const known = runners.get(place) ?? new Runner(place);
  runners.set(place, known);
  return known;
}

/** Two processes at a time, where there are two processors. */
async function run(work: Work): Promise<void> {
  const places = Array.from(
    { length: Math.min(2, availableParallelism()) },
    (_, i) => `${work.directory}/${i}`,
  );
  await Promise.all(places.map((place) => runIn(place, work)));
}

async function runIn(place: string, work: Work): Promise<void> {
  const runner = runnerAt(place);
  let memory = new Memory();
  try {
    while (!work.over()) {
      const from = work.take();
      for (let n = 1; n < BATCH; n++) work.take();
      for (let at = from; at < from + BATCH; ) {
        const order = { seed: work.seed, from: at, count: from + BATCH - at };
        const report = await runner.order(order);
        if ('done' in report) {
          tell(work, report);
          const grown = memory.take(report, work);
          if (grown) work.fail({ case: at, where: 'memory', what: grown });
          break;
        }
        memory = new Memory();
        work.fail({ case: report.at, where: report.where, what: report.what });
        // What came before the bad one is done again, so that it is judged and counted.
        if (report.at > at) {
          const again = await runner.order({ ...order, count: report.at - at });
          if ('done' in again) tell(work, again);
        }
        at = report.at + 1;
      }
    }
  } finally {
    runner.close();
  }
}

async function again(work: Work, failure: Failure): Promise<string | undefined> {
  const whole = / to (\d+)$/.exec(failure.where);
  const order = whole
    ? { seed: work.seed, from: failure.case, count: Number(whole[1]) - failure.case + 1 }
    : { seed: work.seed, from: failure.case, count: 1, target: failure.where };
  if (failure.where === 'memory') order.count = 2 * WARM;
  const report = await runnerAt(`${work.directory}/0`).order(order);
  return 'done' in report ? report.wrong[0]?.what : report.what;
}

export const files: Part = {
  name: 'files',
  what: `Files, answers and requests are damaged and read in process by the functions that the commands read them with: bits flipped,
bytes cut, doubled, moved and zeroed; JSON changed as a tree (values of wrong types, huge numbers, nesting of 9,000, keys such as \`__proto__\`,
repeated keys, NUL, lone surrogates, long texts); header lengths beyond the file, ranges that overlap, shapes that overflow, shards
outside the directory. Kinds called *parsed* are given to their parser in memory; all others lie on disk and are read whole. Each case must end in success, or in one short line that names the file, thrown as \`UsageError\` or
\`RunError\`. Nothing else may be thrown or printed, no tensor and no open file may stay, nothing may change outside the directory of
the case, and no case may compute for more than ${PATIENCE} s. The cases run in a child process, so that a hang or an abort is a failure too.`,
  leavesOut: `regular expressions in tokenizer.json and loops in chat templates that were made to take for ever; files of several gigabytes;
the weights' values beyond NaN and infinities (a model may be nonsense); the native engine (these cases run on plain JavaScript).`,
  foundBefore: `Found by about 200,000 cases before the numbering of the cases was fixed, mended, and held by tests:

- a damaged evaluation.json ended the tables of the quickstart and of sweeps with a SyntaxError or TypeError (and, seen
  while that was mended, a mean that was not finite stood there as 0);
- tokenizer.json with parts that its library accepts and then fails over: a TypeError at the first text;
- values nested deeper than the stack, in config.json and in requests to the server: a RangeError while the message was made;
- names of thousands of characters became lines of thousands of characters;
- \`range(0, 16777216)\` in a chat template computed for minutes; the limit is now that of the sandbox in \`transformers\`, 100,000;
- a checkpoint that is refused left its tensors in memory.`,
  share: 3,
  run,
  again,
};
