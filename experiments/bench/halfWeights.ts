/**
 * Weights in bfloat16 against the same weights in float32, in turns in one process: sampling, scoring and a round of MiniLLM, and how
 * long loading takes and how much memory.
 *
 *     npm run bench:half                                # GPT-2's shape; about ten minutes on two cores
 *     npm run bench:half -- --shape 4,256,4,4096 --rounds 3
 *
 * Options: --shape L,D,H,V, --batches 1,8,32 (of sampling), --rounds N turns, --dtype float16, --only sampling,scoring,round,loading.
 */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { median } from '../../src/bench/measure.js';
import type { Shape } from '../../src/bench/models.js';
import { type BenchSizes, type WorkloadName, workloads } from '../../src/bench/workloads.js';
import { loadModel, saveModel } from '../../src/models/checkpoint.js';
import type { ModelDtype } from '../../src/models/dtypes.js';
import { newModelConfig } from '../../src/models/families.js';
import { initModel, type Model } from '../../src/models/model.js';
import { aligned } from '../../src/runs/alignedText.js';
import { initBackend } from '../../src/tensor/backend.js';
import { disposeParams } from '../../src/tensor/params.js';
import { clocked, rowOf, takeTurns } from './turns.js';

const sizes: BenchSizes = {
  ...{ batch: 8, promptLen: 32, maxResponse: 64, seq: 256, minibatch: 16, inner: 4, ptLen: 96, alpha: 0.2 },
};

/** A model of random weights, stored in bfloat16. */
async function store(directory: string, shape: Shape, seed: number): Promise<string> {
  const model = initModel(newModelConfig('gpt2', { ...shape, maxPositions: 1024 }), seed);
  await saveModel(directory, model, { dtype: 'bf16' });
  disposeParams(model.params);
  return directory;
}

type Models = Record<'float32' | 'half', Model>;

async function load(directory: string, dtype: ModelDtype): Promise<Models> {
  return { float32: await loadModel(directory), half: await loadModel(directory, { dtype }) };
}

/** One line of the table: the work with weights of either kind. `student`: of a round, whose teacher the models are then. */
async function compare(
  what: string,
  name: WorkloadName,
  models: Models,
  { rounds, student, ...change }: Partial<BenchSizes> & { rounds: number; student?: Model },
): Promise<string[]> {
  const of = (model: Model) =>
    workloads[name](student ? { student, teacher: model } : { student: model }, { ...sizes, ...change });
  const works = { half: of(models.half), float32: of(models.float32) };
  const turns = await takeTurns(
    { half: () => clocked(works.half.run), float32: () => clocked(works.float32.run) },
    rounds,
  );
  works.half.dispose();
  works.float32.dispose();
  const row = rowOf('', what, turns.half, turns.float32, {});
  const [least, most] = row.speedup_range;
  const range = `${row.speedup.toFixed(2)} (${least.toFixed(2)} to ${most.toFixed(2)})`;
  return [what, row.ours_s.toFixed(3), row.theirs_s.toFixed(3), range, row.cpu_speedup.toFixed(2)];
}

/**
 * A memory of this process in bytes, as Linux tells it; elsewhere undefined. Not getrusage's largest resident set: that of a child
 * begins with its parent's.
 */
function residentBytes(which: 'VmRSS' | 'VmHWM'): number | undefined {
  if (process.platform !== 'linux') return undefined;
  const kilobytes = new RegExp(`^${which}:\\s+(\\d+) kB`, 'm').exec(
    readFileSync('/proc/self/status', 'utf8'),
  );
  return kilobytes ? Number(kilobytes[1]) * 1024 : undefined;
}

interface Loading {
  seconds: number;
  /** Undefined where the system does not tell. */
  bytes?: number;
}

/** What loading takes, in a process of its own: seconds, and by how much the largest resident set exceeds what was resident before. */
async function loading(directory: string, dtype: ModelDtype): Promise<void> {
  await initBackend();
  // A little work first, so that what TensorFlow takes once is not counted as the model's.
  disposeParams(initModel(newModelConfig('gpt2', { ...shapeOf('1,64,1,64'), maxPositions: 8 }), 1).params);
  const before = residentBytes('VmRSS');
  const started = performance.now();
  await loadModel(directory, { dtype });
  const seconds = (performance.now() - started) / 1000;
  const peak = residentBytes('VmHWM');
  const measured: Loading = {
    seconds,
    ...(before !== undefined && peak !== undefined && { bytes: peak - before }),
  };
  console.log(JSON.stringify(measured));
}

function measuredLoading(directory: string, dtype: ModelDtype): string[] {
  const self = fileURLToPath(import.meta.url);
  const args = ['--import', 'tsx', self, '--load', directory, '--dtype', dtype];
  const runs = Array.from({ length: 3 }, () => {
    const text = execFileSync(process.execPath, args, {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
    });
    return JSON.parse(text.trim().split('\n').at(-1)!) as Loading;
  });
  const stored = statSync(join(directory, 'model.safetensors')).size;
  const kept = dtype === 'float32' ? 2 * stored : stored;
  const seconds = median(runs.map((r) => r.seconds));
  const sizes = runs.flatMap(({ bytes }) => bytes ?? []);
  if (sizes.length === 0) return [dtype, seconds.toFixed(2), 'only on Linux', ''];
  const bytes = median(sizes);
  return [dtype, seconds.toFixed(2), (bytes / 1e6).toFixed(0), (bytes / kept).toFixed(2)];
}

function shapeOf(text: string): Shape {
  const [layers, hiddenSize, heads, vocabSize] = text.split(',').map(Number) as [
    number,
    number,
    number,
    number,
  ];
  return { layers, hiddenSize, heads, vocabSize };
}

const { values: options } = parseArgs({
  options: {
    shape: { type: 'string', default: '12,768,12,50257' },
    batches: { type: 'string', default: '1,8,32' },
    rounds: { type: 'string', default: '5' },
    dtype: { type: 'string', default: 'bfloat16' },
    only: { type: 'string', default: 'sampling,scoring,round,loading' },
    load: { type: 'string' },
  },
});
const dtype = options.dtype as ModelDtype;
if (options.load) await loading(options.load, dtype);
else {
  await initBackend();
  const [only, rounds] = [options.only.split(','), Number(options.rounds)];
  const root = mkdtempSync(join(tmpdir(), 'minillm-half-'));
  try {
    const shape = shapeOf(options.shape);
    const directory = await store(join(root, 'model'), shape, 1);
    const table = [['work', `${dtype} s`, 'float32 s', 'of the time', 'of processor time']];
    const models = await load(directory, dtype);
    const name = `L${shape.layers} D${shape.hiddenSize} V${shape.vocabSize}`;
    const add = async (...args: Parameters<typeof compare>): Promise<void> => {
      table.push(await compare(...args));
      process.stderr.write(`${table.at(-1)!.join('  ')}\n`);
    };
    if (only.includes('sampling'))
      for (const batch of options.batches.split(',').map(Number))
        await add(`sampling, ${name}, B${batch}, 32+64 tokens`, 'generate', models, { rounds, batch });
    if (only.includes('scoring'))
      await add(`scoring, ${name}, B4 T256`, 'score', models, { rounds, batch: 4 });
    if (only.includes('round')) {
      const pupil = (vocabSize: number) =>
        initModel(newModelConfig('gpt2', { ...shapeOf('4,256,4,1'), vocabSize, maxPositions: 1024 }), 3);
      const small = await load(await store(join(root, 'teacher'), shapeOf('6,384,6,4096'), 2), dtype);
      await add('round, L4 D256 and L6 D384, V4096', 'round', small, {
        rounds,
        batch: 64,
        student: pupil(4096),
      });
      const more = { rounds, batch: 16, minibatch: 8, inner: 1, student: pupil(shape.vocabSize) };
      await add(`round, L4 D256 and ${name}, 16 rollouts, one pass`, 'round', models, more);
    }
    console.log(aligned(table));
    if (only.includes('loading'))
      console.log(
        aligned([
          ['loading', 's', 'peak MB', 'peak over the model as kept'],
          ...(['float32', dtype] as const).map((kept) => measuredLoading(directory, kept)),
        ]),
      );
  } finally {
    rmSync(root, { recursive: true });
  }
}
