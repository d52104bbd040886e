import { pathToFileURL } from 'node:url';
import { Worker } from 'node:worker_threads';
import { type RewardBatch, RewardEnded } from '../training/rewardSource.js';

/**
 * Runs as a thread. Plain JavaScript, because a thread knows no TypeScript loader. One function of one module; what is decided about
 * its answers is decided outside.
 */
const program = `
const { parentPort, workerData } = require('node:worker_threads');
const say = (error) => String(error?.message ?? error);
const load = (url) => import(url).catch(async (error) => {
  if (error?.code !== 'ERR_UNKNOWN_FILE_EXTENSION' || !workerData.tsx) throw error;
  return (await import(workerData.tsx)).tsImport(url, url);
});
const ready = load(workerData.url).then((module) => {
  // Of a CommonJS module, which TypeScript outside a package of type module is, the exports may all lie in the default one.
  const given = [module, module.default].map((all) => all?.[workerData.name]).find((one) => typeof one === 'function');
  if (!given) throw new Error('has no function as its ' + workerData.wanted);
  return given;
});
ready.then(
  () => parentPort.postMessage({ id: 0, value: null }),
  (error) => parentPort.postMessage({ id: 0, code: error?.code, error: say(error) }),
);
parentPort.on('message', async ({ id, batch }) => {
  try {
    parentPort.postMessage({ id, value: await (await ready)(batch) });
  } catch (error) {
    parentPort.postMessage({ id, error: say(error) });
  }
});
`;

/** What reads TypeScript for a Node that does not: there in a checkout, and where somebody has installed it. */
function tsxUrl(): string | undefined {
  try {
    return import.meta.resolve('tsx/esm/api');
  } catch {
    return undefined;
  }
}

type Reply = { id: number; value?: unknown; error?: string; code?: string };
type Waiting = { resolve(value: unknown): void; reject(error: Error): void };

/** A reward function of a module, in a thread of its own: one that hangs can be ended, and a slow one lets signals through. */
export class RewardThread {
  private readonly worker: Worker;
  private readonly waiting = new Map<number, Waiting>();
  private asked = 0;
  private ended: Error | undefined;
  /** Settles when the module is loaded. */
  readonly ready: Promise<unknown>;

  /** @param name of the export */
  constructor(module: string, name: string) {
    const wanted = name === 'default' ? 'default export' : `export ${name}`;
    this.worker = new Worker(program, {
      eval: true,
      workerData: { url: pathToFileURL(module).href, name, wanted, tsx: tsxUrl() },
      // What a module prints is no part of what the program prints.
      stdout: true,
    });
    this.worker.stdout.on('data', (text) => process.stderr.write(text));
    this.worker.unref();
    this.worker.on('message', (reply: Reply) => this.take(reply));
    this.worker.on('error', (error) => this.end(error));
    this.worker.on('exit', () => this.end(new RewardEnded('its thread has ended')));
    this.ready = this.promise(0);
    this.ready.catch(() => {});
  }

  /** @throws RewardEnded where the module has ended its thread */
  async ask(batch: RewardBatch): Promise<unknown> {
    if (this.ended) throw this.ended;
    const id = ++this.asked;
    const answer = this.promise(id);
    this.worker.postMessage({ id, batch });
    return answer;
  }

  close(): void {
    void this.worker.terminate();
  }

  private promise(id: number): Promise<unknown> {
    return new Promise((resolve, reject) => this.waiting.set(id, { resolve, reject }));
  }

  private take({ id, value, error, code }: Reply): void {
    const one = this.waiting.get(id);
    this.waiting.delete(id);
    if (error === undefined) one?.resolve(value);
    else one?.reject(Object.assign(new Error(error), code && { code }));
  }

  private end(error: Error): void {
    this.ended ??= error;
    for (const { reject } of this.waiting.values()) reject(error);
    this.waiting.clear();
  }
}
