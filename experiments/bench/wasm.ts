/**
 * Our training step on WebAssembly beside plain TensorFlow.js on WebAssembly (naiveGpt2.ts), in one process, in turns:
 *
 *     npm run bench:wasm                    # 2 minutes
 *     npm run bench:wasm -- --repeat 1
 *
 * Both start from the same weights and take the same steps (the same rows, Adam without clipping and decay). The losses of the
 * first steps must agree before anything is timed. WebAssembly has one thread in Node, for both. Writes results/wasm.json and
 * wasm.md. Options: --repeat N (9), --results DIR.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { median, timed } from '../../src/bench/measure.js';
import type { Shape } from '../../src/bench/models.js';
import { randomRows, trainingBench } from '../../src/bench/training.js';
import { newModelConfig } from '../../src/models/families.js';
import { initModel } from '../../src/models/model.js';
import { initBackend } from '../../src/tensor/backend.js';
import { sft } from '../../src/training/sft.js';
import { markdownTable } from './markdown.js';
import { measuredOn } from './measuredOn.js';
import { naiveTraining } from './naiveGpt2.js';

export interface WasmWork extends Shape {
  batch: number;
  seq: number;
}

const works: readonly WasmWork[] = [
  { layers: 4, hiddenSize: 128, heads: 4, vocabSize: 1024, batch: 8, seq: 64 },
  { layers: 2, hiddenSize: 96, heads: 4, vocabSize: 2048, batch: 8, seq: 64 },
];
/** How many times faster we mean to be. */
const TARGET = 3;
/** Steps whose losses are compared, and by how much they may differ. */
const CHECKED = 3;
const TOLERANCE = 1e-4;

export interface WasmRow {
  what: string;
  /** Median of their seconds over the median of ours, and its range over the turns. */
  faster: number;
  faster_min: number;
  faster_max: number;
  ours_s: Spread;
  theirs_s: Spread;
  /** The largest difference between the losses of the steps that were compared. */
  loss_difference: number;
}
type Spread = [median: number, min: number, max: number];

/** Both sides of one piece of work, from the same weights; `ours` and `theirs` take a step and give the loss before it. */
export function bothSides({ batch, seq, ...shape }: WasmWork) {
  const student = initModel(newModelConfig('gpt2', { ...shape, maxPositions: seq }), 1);
  const rows = randomRows(shape.vocabSize, batch, seq + 1, 'train');
  const [lr, beta1, beta2, eps] = [1e-3, 0.9, 0.95, 1e-8];
  const theirs = naiveTraining(student.params, shape, rows, { lr, beta1, beta2, eps });
  const train = {
    batch_size: batch,
    lr,
    betas: [beta1, beta2] as [number, number],
    eps,
    clip: 0,
    weight_decay: 0,
  };
  const examples = rows.map((ids) => ({ promptIds: ids.slice(0, 1), responseIds: ids.slice(1) }));
  const ours = trainingBench({ student }, sft(), { method: 'sft', train }, examples);
  return {
    ours: () => ours.step().loss,
    theirs: () => theirs.step(),
    dispose() {
      ours.dispose();
      theirs.dispose();
    },
  };
}

/** @throws Error when the two sides do not compute the same training run, or their losses are no numbers */
async function compare(work: WasmWork, repeat: number): Promise<WasmRow> {
  const sides = bothSides(work);
  const what = `L${work.layers} D${work.hiddenSize} H${work.heads} V${work.vocabSize}, B${work.batch} T${work.seq}`;
  const losses = Array.from({ length: CHECKED }, () => [sides.ours(), sides.theirs()] as const);
  const loss_difference = Math.max(...losses.map(([a, b]) => Math.abs(a - b)));
  if (!(loss_difference <= TOLERANCE))
    throw new Error(`${what}: the losses of the two sides are not the same: ${losses.join('; ')}`);
  const [ours, theirs]: [number[], number[]] = [[], []];
  for (let i = 0; i < repeat; i++) {
    ours.push((await timed(sides.ours))[1]);
    theirs.push((await timed(sides.theirs))[1]);
    process.stderr.write(
      `${what} ${i + 1}/${repeat}: ${ours[i]!.toFixed(3)} s, ${theirs[i]!.toFixed(3)} s\n`,
    );
  }
  sides.dispose();
  return wasmRow(what, ours, theirs, loss_difference);
}

/** @param ours @param theirs seconds, turn by turn */
export function wasmRow(
  what: string,
  ours: readonly number[],
  theirs: readonly number[],
  loss_difference: number,
): WasmRow {
  const spread = (x: readonly number[]): Spread => [median(x), Math.min(...x), Math.max(...x)];
  const [ours_s, theirs_s] = [spread(ours), spread(theirs)];
  const turns = theirs.map((seconds, i) => seconds / ours[i]!);
  return {
    ...{
      what,
      faster: theirs_s[0] / ours_s[0],
      faster_min: Math.min(...turns),
      faster_max: Math.max(...turns),
    },
    ...{ ours_s, theirs_s, loss_difference },
  };
}

export function wasmTable(rows: readonly WasmRow[]): string {
  const ms = ([m, low, high]: Spread): string => {
    const [a, b, c] = [m, low, high].map((s) => (s * 1000).toFixed(0));
    return `${a} (${b}–${c})`;
  };
  const lines = rows.map((r) => [
    `training step, ${r.what}`,
    `**${r.faster.toFixed(1)}** (${r.faster_min.toFixed(1)}–${r.faster_max.toFixed(1)})`,
    `≥ ${TARGET}${r.faster >= TARGET ? '' : ', not met'}`,
    ms(r.ours_s),
    ms(r.theirs_s),
    r.loss_difference.toExponential(0),
  ]);
  const head = ['work', 'times faster', 'target', 'ours, ms', 'plain TensorFlow.js, ms', 'losses differ by'];
  return markdownTable(head, lines, [0, 2]);
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      repeat: { type: 'string', default: '9' },
      results: { type: 'string', default: fileURLToPath(new URL('results', import.meta.url)) },
    },
  });
  const repeat = Number(values.repeat);
  if (!Number.isInteger(repeat) || repeat < 1)
    throw new Error(`--repeat ${values.repeat}: expected a whole number of at least 1`);
  const backend = await initBackend({ backend: 'wasm' });
  const measured = { ...measuredOn(backend), repeat };
  const rows: WasmRow[] = [];
  for (const work of works) rows.push(await compare(work, repeat));
  mkdirSync(values.results, { recursive: true });
  writeFileSync(join(values.results, 'wasm.json'), `${JSON.stringify({ measured, rows }, null, 2)}\n`);
  writeFileSync(join(values.results, 'wasm.md'), wasmTable(rows));
  process.stdout.write(wasmTable(rows));
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  await main().catch((error: Error) => {
    process.stderr.write(`bench:wasm: ${error.message}\n`);
    process.exitCode = 1;
  });
}
