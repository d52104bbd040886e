import { spawn } from 'node:child_process';
import { accessSync, constants, statSync } from 'node:fs';
import { delimiter, join } from 'node:path';

/** Running other programs: never a shell, never a terminal, always an end. */

export interface Finished {
  /** Exit status, or -1 when the program was ended by a signal or could not be started. */
  status: number;
  stdout: string;
  stderr: string;
  /** Why it was ended early or never started, in words. */
  trouble?: string;
}

export interface RunOptions {
  cwd?: string;
  env?: NodeJS.ProcessEnv;
  /** Ended after this long, whatever it does. */
  timeoutMs?: number;
  /** Ended after this long without `progress()` changing. */
  stallMs?: number;
  /** Something that grows while the work goes on (bytes on disk); asked once a second. */
  progress?: () => number;
  signal?: AbortSignal | undefined;
}

const OUTPUT_LIMIT = 1_000_000;

/** Runs a program to its end and returns what it said. Never throws; a program that cannot be started has status -1. */
export function run(command: string, args: string[], options: RunOptions = {}): Promise<Finished> {
  return new Promise((resolve) => {
    // A group of its own (where there are groups), so that ending it ends its children too.
    const grouped = process.platform !== 'win32';
    const child = spawn(command, args, {
      cwd: options.cwd,
      env: options.env ?? process.env,
      stdio: ['ignore', 'pipe', 'pipe'],
      detached: grouped,
      windowsHide: true,
    });
    let trouble: string | undefined;
    const output = { stdout: '', stderr: '' };
    for (const name of ['stdout', 'stderr'] as const) {
      child[name].setEncoding('utf8').on('data', (text: string) => {
        output[name] = (output[name] + text).slice(-OUTPUT_LIMIT);
      });
    }
    const end = (why: string) => {
      trouble ??= why;
      try {
        if (grouped && child.pid) process.kill(-child.pid, 'SIGKILL');
        else child.kill('SIGKILL');
      } catch {
        // It has ended by itself.
      }
    };
    const timers: NodeJS.Timeout[] = [];
    const { timeoutMs, stallMs, progress } = options;
    if (timeoutMs)
      timers.push(setTimeout(() => end(`ended after ${Math.round(timeoutMs / 1000)} s`), timeoutMs));
    if (progress) {
      let last = progress();
      let since = Date.now();
      timers.push(
        setInterval(() => {
          const now = progress();
          if (now !== last) since = Date.now();
          else if (stallMs && Date.now() - since > stallMs)
            end(`no progress for ${Math.round(stallMs / 1000)} s`);
          last = now;
        }, 1000),
      );
    }
    const aborted = () => end('ran out of time');
    if (options.signal?.aborted) aborted();
    options.signal?.addEventListener('abort', aborted);
    // A terminal's Ctrl-C does not reach another process group: pass it on, then do as if we had not looked.
    const passOn = (name: NodeJS.Signals) => {
      end(`ended by ${name}`);
      unhook();
      process.kill(process.pid, name);
    };
    const unhook = () => {
      for (const timer of timers) clearTimeout(timer);
      options.signal?.removeEventListener('abort', aborted);
      process.off('SIGINT', passOn);
      process.off('SIGTERM', passOn);
    };
    process.on('SIGINT', passOn);
    process.on('SIGTERM', passOn);
    const finish = (status: number, why?: string) => {
      unhook();
      const reason = trouble ?? why;
      resolve({ status, ...output, ...(reason === undefined ? {} : { trouble: reason }) });
    };
    child.on('error', (error) => finish(-1, error.message));
    child.on('close', (code, signal) => finish(code ?? -1, signal ? `ended by ${signal}` : undefined));
  });
}

/** The full path of a program, looked up as a shell would. */
export function which(name: string): string | undefined {
  if (name.includes('/')) return runnable(name) ? name : undefined;
  const endings = process.platform === 'win32' ? ['.exe', '.cmd', ''] : [''];
  for (const dir of (process.env.PATH ?? '').split(delimiter)) {
    for (const ending of endings) {
      const file = join(dir, name + ending);
      if (dir !== '' && runnable(file)) return file;
    }
  }
  return undefined;
}

function runnable(file: string): boolean {
  try {
    accessSync(file, constants.X_OK);
    return statSync(file).isFile();
  } catch {
    return false;
  }
}
