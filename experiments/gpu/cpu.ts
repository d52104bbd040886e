import { existsSync, mkdirSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { fileURLToPath } from 'node:url';
import { median } from '../../src/bench/measure.js';
import { defaultCacheDir } from '../../src/tensor/provision/paths.js';
import { run } from '../../src/tensor/provision/process.js';
import { listEntries } from '../../src/tensor/provision/store.js';
import { oneLine, type Row } from './rows.js';
import type { Work } from './work.js';
import { type Answer, ownProcess, torchProcess, type Worker } from './worker.js';

/** In the order in which they are measured: the ends first, where time runs out. */
const THREADS = [16, 1, 4, 2, 8];
const TURNS = 3;

const SMALL = { shape: [4, 256, 4, 4096] as Work['shape'], precision: 'float32' as const, repeats: 3 };
const GPT2 = { shape: [12, 768, 12, 50_257] as Work['shape'], precision: 'float32' as const, repeats: 1 };
const CASES: [string, Work][] = [
  ['training step, L4 D256 V4096, B16 T128', { ...SMALL, work: 'sft', batch: 16, length: 128 }],
  ['scoring, L4 D256 V4096, B16 T128', { ...SMALL, work: 'score', batch: 16, length: 128 }],
  [
    'sampling, L4 D256 V4096, B32, 32+64',
    { ...SMALL, work: 'generate', batch: 32, prompt: 32, response: 64, repeats: 1 },
  ],
  ['training step, GPT-2, B2 T128', { ...GPT2, work: 'sft', batch: 2, length: 128 }],
  ['scoring, GPT-2, B2 T128', { ...GPT2, work: 'score', batch: 2, length: 128 }],
  ['sampling, GPT-2, B8, 32+32', { ...GPT2, work: 'generate', batch: 8, prompt: 32, response: 32 }],
];

/** The folder of TensorFlow's library in this pack, if it was made with --cpu. */
export function cpuMaterial(): string | undefined {
  const folder = fileURLToPath(new URL('../../tensorflow/', import.meta.url));
  return existsSync(folder) ? folder : undefined;
}

interface Settings {
  material: string;
  python: string;
  seconds: number;
  onRow(row: Row): void;
}

/** The part `cpu`: sets up the native engine from the pack, and times it with more and more threads, in turns with PyTorch on the same cores. */
export async function cpuCheck({ material, python, seconds, onRow }: Settings): Promise<void> {
  const deadline = performance.now() + seconds * 1000;
  const left = (): number => (deadline - performance.now()) / 1000;
  const say = (what: string, state: Row['state'], note: string): void =>
    onRow({ part: 'cpu', what, state, note: oneLine(note) });
  const trouble = await setUp(material, left());
  if (trouble) return say('the native engine', 'FAILED', trouble);
  const counts = THREADS.filter((threads) => threads <= availableParallelism());
  say('the native engine', 'ok', `set up; ${availableParallelism()} cores; PyTorch by ${python}`);
  const torch = torchProcess(python, 'torch_common.py');
  const noTorch = (await torch.answer(Math.min(60, left()))).error;
  const points = new Map(CASES.map(([what]) => [what, [] as Point[]]));
  for (const threads of counts) {
    const ours = ownProcess('work');
    await ours.answer(30);
    for (const [what, work] of CASES) {
      if (left() > 5) points.get(what)!.push(await point({ ours, torch, noTorch, work, threads, left }));
    }
    ours.kill();
  }
  torch.kill();
  for (const [what, all] of points) {
    const sorted = all.sort((a, b) => a.threads - b.threads);
    if (sorted.length === 0) say(what, 'skipped', 'no time left');
    else say(what, 'measured', sorted.map(text).join('; ') + (noTorch ? `; no PyTorch: ${noTorch}` : ''));
  }
}

/** The library's pieces into the cache of the native engine, where `setup` finds it and compiles the addon for this processor. @returns what went wrong */
async function setUp(material: string, seconds: number): Promise<string | undefined> {
  const cache = defaultCacheDir();
  if (!listEntries(cache).some(({ dir, entry }) => dir.endsWith('-cpu') && typeof entry !== 'string')) {
    mkdirSync(cache, { recursive: true });
    const script = 'cat "$1"/cache.tar.xz.* | xz -dc | tar -x -f - -C "$2"';
    const done = await run('sh', ['-c', script, 'sh', material, cache], { timeoutMs: seconds * 1000 });
    if (done.status !== 0) return `the library does not unpack: ${done.trouble ?? done.stderr}`;
  }
  const args = [...process.execArgv, process.argv[1]!, 'setup'];
  const done = await run(process.execPath, args, { timeoutMs: seconds * 1000 });
  return done.status === 0 ? undefined : oneLine(done.trouble ?? done.stderr.trim().split('\n').at(-1));
}

interface Point {
  threads: number;
  ours?: number;
  theirs?: number;
  trouble?: string;
}

interface Turns {
  ours: Worker;
  torch: Worker;
  noTorch: string | undefined;
  work: Work;
  threads: number;
  left(): number;
}

async function point({ ours, torch, noTorch, work, threads, left }: Turns): Promise<Point> {
  const sides = noTorch ? [ours] : [ours, torch];
  const request = { ...work, threads, backend: 'tensorflow', device: 'cpu' };
  const seconds: [number[], number[]] = [[], []];
  const ask = async (worker: Worker, what: 'prepare' | 'turn'): Promise<Answer> =>
    worker.ask({ do: what, ...request }, Math.max(1, left()));
  // One after the other: they share the cores.
  for (const side of sides) {
    const { error } = await ask(side, 'prepare');
    if (error) return { threads, trouble: error };
  }
  for (let turn = 0; turn < TURNS && (turn === 0 || left() > 5); turn++)
    for (const [i, side] of sides.entries()) {
      const answer = await ask(side, 'turn');
      if (answer.error) return { threads, trouble: answer.error };
      seconds[i]!.push(Number(answer.seconds));
    }
  return { threads, ours: median(seconds[0]), ...(!noTorch && { theirs: median(seconds[1]) }) };
}

/** `8: 40/52 ms 0.77`: threads, ours, PyTorch's, and the ratio. */
function text({ threads, ours, theirs, trouble }: Point): string {
  if (ours === undefined) return `${threads}: ${trouble}`;
  const ms = (x: number): string => (1000 * x).toPrecision(3);
  return theirs === undefined
    ? `${threads}: ${ms(ours)} ms`
    : `${threads}: ${ms(ours)}/${ms(theirs)} ms **${(ours / theirs).toFixed(2)}**`;
}
