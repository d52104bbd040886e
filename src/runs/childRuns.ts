import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { RunError } from '../errors.js';
import type { LaunchOrder } from './launchKeeper.js';

/** One run of our own program in a process of its own. */
export interface ChildRun {
  label: string;
  args: string[];
  /** The file by which it claims its directory. */
  claim?: string;
}

export interface ChildOptions {
  /** The process of a run that has just begun. */
  onStart?: (pid: number) => Promise<void>;
  /** True once the runs should save and stop; asked five times a second. */
  stopping?: () => boolean;
  /** Words of a command that starts the run, on whatever machine: it gets ours as its last arguments. */
  launcher?: readonly string[] | undefined;
}

/**
 * Runs our own program in child processes, at most `parallel` at a time, in the order given. On two cores two processes of
 * one thread each finish sooner than one after the other with two threads: small matrices do not share out well.
 * Standard output is collected and returned; lines of standard error go to `log` behind the run's label.
 *
 * @throws RunError with the child's own last line when one fails (the others are stopped), exit code 130 after Ctrl-C
 */
export async function runChildren(
  runs: readonly ChildRun[],
  parallel: number,
  log: (line: string) => void,
  options: ChildOptions = {},
): Promise<string[]> {
  const outputs: string[] = new Array(runs.length).fill('');
  const active = new Set<ReturnType<typeof spawn>>();
  let next = 0;
  const worker = async (): Promise<void> => {
    while (next < runs.length) {
      const index = next++;
      outputs[index] = await runChild(runs[index]!, log, active, options);
    }
  };
  try {
    await Promise.all(Array.from({ length: Math.min(parallel, runs.length) }, worker));
  } catch (error) {
    next = runs.length;
    for (const child of active) child.kill('SIGTERM');
    throw error;
  }
  return outputs;
}

function runChild(
  run: ChildRun,
  log: (line: string) => void,
  active: Set<ReturnType<typeof spawn>>,
  { onStart, stopping, launcher }: ChildOptions,
): Promise<string> {
  return new Promise((resolve, reject) => {
    const command = [...process.execArgv, sibling('../cli/main'), ...run.args];
    const args = launcher ? [...process.execArgv, sibling('./launchKeeper')] : command;
    const child = spawn(process.execPath, args, {
      // Ctrl-C reaches this process alone, and the child once: from here, or by the channel that closes when this
      // process is gone (cli/main.ts). A second signal would make it quit without saving.
      detached: true,
      stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
    });
    active.add(child);
    const started = child.pid === undefined ? undefined : onStart?.(child.pid);
    const order: LaunchOrder = {
      command: [...(launcher ?? []), process.execPath, ...command],
      ...(run.claim && { claim: run.claim }),
    };
    Promise.resolve(started).then(() => {
      if (launcher && child.connected) child.send(order);
    }, reject);
    const timer = setInterval(() => {
      if (!stopping?.()) return;
      clearInterval(timer);
      child.kill('SIGTERM');
    }, 200);
    let output = '';
    let lastLine = '';
    child.stdout!.setEncoding('utf8').on('data', (text: string) => {
      output += text;
    });
    createInterface({ input: child.stderr! }).on('line', (line) => {
      if (line.trim() === '') return;
      // A launcher has its own last words ("exited with exit code 1"); what the run said is of more use.
      if (!lastLine.startsWith(OWN) || line.startsWith(OWN)) lastLine = line;
      log(`${run.label.padEnd(10)} ${line}`);
    });
    child.on('error', reject);
    child.on('close', (code, signal) => {
      active.delete(child);
      clearInterval(timer);
      if (code === 0) resolve(output);
      else
        reject(
          new RunError(
            `${run.label}: ${(lastLine.startsWith(OWN) ? lastLine.slice(OWN.length) : lastLine) || `ended by ${signal ?? `exit code ${code}`}`}`,
            code === 130 ? 130 : 1,
          ),
        );
    });
  });
}

/** How the line begins in which our program says why it failed. */
const OWN = 'minillm: ';

/** A file of the program that this process itself runs from: TypeScript in a checkout, JavaScript in the published package. */
function sibling(name: string): string {
  const own = fileURLToPath(import.meta.url);
  return fileURLToPath(new URL(`${name}${own.slice(own.lastIndexOf('.'))}`, import.meta.url));
}
