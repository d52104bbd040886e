/** Processes that the laboratory starts, and what must be done whatever happens. */
import { type ChildProcess, spawn } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';

export interface Ended {
  code: number | null;
  signal: string | null;
  seconds: number;
  /** Standard output and standard error, as they came. */
  said: string;
}

export interface Job {
  child: ChildProcess;
  ended: Promise<Ended>;
  /** What it said so far. */
  said(): string;
  isOver(): boolean;
}

const LIMIT_S = 600;

/** Starts a command in a process group of its own, which is killed when it takes too long. */
export function start(words: readonly string[], env: NodeJS.ProcessEnv, cwd: string, limit = LIMIT_S): Job {
  const from = performance.now();
  const child = spawn(words[0]!, words.slice(1), {
    ...{ env, cwd, detached: true, stdio: ['ignore', 'pipe', 'pipe'] as const },
  });
  let [text, over] = ['', false];
  for (const stream of [child.stdout!, child.stderr!]) {
    stream.setEncoding('utf8').on('data', (part: string) => {
      text += part;
    });
  }
  const timer = Number.isFinite(limit) ? setTimeout(() => killGroup(child), 1000 * limit) : undefined;
  const ended = new Promise<Ended>((resolve, reject) => {
    child.on('error', reject);
    // Of `exit`, not `close`: what a lost host keeps open is not waited for.
    child.on('exit', (code, signal) => {
      clearTimeout(timer);
      over = true;
      setTimeout(
        () => resolve({ code, signal, seconds: (performance.now() - from) / 1000, said: text }),
        200,
      );
    });
  });
  return { child, ended, said: () => text, isOver: () => over };
}

export function killGroup({ pid }: ChildProcess): void {
  try {
    if (pid !== undefined) process.kill(-pid, 'SIGKILL');
  } catch {
    // It has ended.
  }
}

/** Ends all processes in whose environment a text stands: a path that nothing else knows. */
export function endProcessesWith(text: string): void {
  for (const pid of readdirSync('/proc').filter(
    (name) => /^\d+$/.test(name) && Number(name) !== process.pid,
  )) {
    try {
      if (readFileSync(`/proc/${pid}/environ`).includes(text)) process.kill(Number(pid), 'SIGKILL');
    } catch {
      // It has ended, or is none of ours.
    }
  }
}

/** Runs a command to its end. @throws Error with the end of what it said when its exit code is another */
export async function finish(
  words: readonly string[],
  env: NodeJS.ProcessEnv,
  cwd: string,
  code = 0,
): Promise<Ended> {
  const ended = await start(words, env, cwd).ended;
  if (ended.code === code) return ended;
  const how = ended.signal ?? `exit code ${ended.code}`;
  throw new Error(`${words.join(' ')}: ${how}, not ${code}:\n${ended.said.slice(-2000)}`);
}

/** Asks again and again until there is an answer. @throws Error when there is none in time, or when the job ends first */
export async function until<T>(
  ask: () => T | undefined,
  what: string,
  job?: Job,
  seconds = LIMIT_S,
): Promise<T> {
  for (const from = performance.now(); ; await sleep(20)) {
    const answer = ask();
    if (answer !== undefined) return answer;
    const late = performance.now() - from > 1000 * seconds;
    if (late || job?.isOver()) {
      const why = late ? `not within ${seconds} s` : 'the job ended first';
      throw new Error(`${what}: ${why}\n${job?.said().slice(-2000) ?? ''}`);
    }
  }
}

/**
 * Runs `work`, then everything given to `atEnd`, the last first; also after an error, Ctrl-C and SIGTERM.
 *
 * @param atEnd of `work`: a synchronous function; what it throws is passed over
 */
export async function withCleanup<T>(work: (atEnd: (undo: () => void) => void) => Promise<T>): Promise<T> {
  const undos: (() => void)[] = [];
  const cleanUp = (): void => {
    for (let undo = undos.pop(); undo; undo = undos.pop()) {
      try {
        undo();
      } catch (error) {
        process.stderr.write(`cleaning up: ${(error as Error).message}\n`);
      }
    }
  };
  const onSignal = (): void => {
    cleanUp();
    process.exit(130);
  };
  const signals = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;
  for (const signal of signals) process.on(signal, onSignal);
  process.on('exit', cleanUp);
  try {
    return await work((undo) => undos.push(undo));
  } finally {
    cleanUp();
    process.off('exit', cleanUp);
    for (const signal of signals) process.off(signal, onSignal);
  }
}
