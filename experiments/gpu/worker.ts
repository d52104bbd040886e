import { type ChildProcess, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { oneLine } from './rows.js';

export type Answer = Record<string, unknown> & { error?: string };

/** A process that answers a line of JSON with a line of JSON: one side of the benchmark. */
export class Worker {
  readonly #child: ChildProcess;
  readonly #waiting: ((answer: Answer) => void)[] = [];
  #said = '';
  #ended = false;

  constructor(program: string, args: readonly string[], env: NodeJS.ProcessEnv = process.env) {
    this.#child = spawn(program, args, { stdio: ['pipe', 'pipe', 'pipe'], env });
    const end = (why: string): void => {
      this.#ended = true;
      for (const resolve of this.#waiting.splice(0)) resolve({ error: why });
    };
    this.#child.on('error', (error) => end(oneLine(error)));
    this.#child.on('close', (code, signal) =>
      end(`ended with ${signal ?? `status ${code}`}: ${this.#lastLine()}`),
    );
    this.#child.stdin!.on('error', () => {}); // said by `close`
    this.#child.stderr!.setEncoding('utf8').on('data', (text: string) => {
      this.#said = (this.#said + text).slice(-4000);
    });
    createInterface({ input: this.#child.stdout! }).on('line', (line) => {
      if (line.startsWith('{')) this.#waiting.shift()?.(JSON.parse(line) as Answer);
    });
  }

  /** The next line that the process says; an error when it ends, or has not answered after so many seconds (it is then killed). */
  async answer(seconds: number): Promise<Answer> {
    if (this.#ended) return { error: `has ended: ${this.#lastLine()}` };
    const late = setTimeout(() => {
      this.#said += `\nno answer after ${seconds.toFixed(0)} s`;
      this.kill();
    }, seconds * 1000);
    const answer = await new Promise<Answer>((resolve) => this.#waiting.push(resolve));
    clearTimeout(late);
    return answer;
  }

  ask(request: Record<string, unknown>, seconds: number): Promise<Answer> {
    const answer = this.answer(seconds);
    if (!this.#ended) this.#child.stdin!.write(`${JSON.stringify(request)}\n`);
    return answer;
  }

  get ended(): boolean {
    return this.#ended;
  }

  kill(): void {
    this.#child.kill('SIGKILL');
  }

  #lastLine(): string {
    return oneLine(this.#said.trim().split('\n').at(-1) ?? '');
  }
}

/** A part of this program as a worker. */
export function ownProcess(part: string, env: NodeJS.ProcessEnv = process.env): Worker {
  return new Worker(process.execPath, [...process.execArgv, process.argv[1]!, 'gpu', part], env);
}

/** One of the Python files that lie where this file lies. */
export function torchProcess(python: string, script: string): Worker {
  const path = fileURLToPath(new URL(script, import.meta.url));
  return new Worker(python, [path], { ...process.env, TOKENIZERS_PARALLELISM: 'false', HF_HUB_OFFLINE: '1' });
}
