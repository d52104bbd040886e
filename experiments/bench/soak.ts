/**
 * Whether a long run stays in the memory it began with: MiniLLM on a tiny model of random weights, through the training loop of
 * `minillm train`, thousands of optimizer steps in one process.
 *
 *     node --expose-gc --import tsx experiments/bench/soak.ts [STEPS]
 *
 * Every 50 steps, at the end of a round: the resident set of the process, and TensorFlow.js's count of tensors and bytes. Writes
 * results/soak.csv and soak.json. Exit code 1 when tensors or their bytes grow after the warm-up.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import * as tf from '@tensorflow/tfjs-core';
import { randomRows } from '../../src/bench/training.js';
import { gpt2Config } from '../../src/models/families.js';
import { initModel, type Model } from '../../src/models/model.js';
import { csv } from '../../src/report/escape.js';
import { describeEnvironment } from '../../src/runs/environment.js';
import { initBackend } from '../../src/tensor/backend.js';
import { trainConfigSchema } from '../../src/training/config.js';
import { optimizerOf, trainingLoop } from '../../src/training/loop.js';
import { minillm } from '../../src/training/minillm.js';

const steps = Number(process.argv[2] ?? 2000);
const [VOCAB, EVERY] = [512, 50];
const WARMUP = 200;
if (!Number.isInteger(steps) || steps < WARMUP + 2 * EVERY)
  throw new Error(`soak: steps is ${process.argv[2]}, expected a whole number from ${WARMUP + 2 * EVERY}`);

interface Sample {
  step: number;
  seconds: number;
  rss_mb: number;
  tensors: number;
  bytes: number;
}

const say = (line: string): void => void process.stdout.write(`${line}\n`);

function model(hiddenSize: number, seed: number): Model {
  return initModel(gpt2Config({ vocabSize: VOCAB, hiddenSize, layers: 2, heads: 2, maxPositions: 32 }), seed);
}

/** Megabytes a thousand steps, by least squares. */
function slopeOf(samples: readonly Sample[]): number {
  const mean = (of: (s: Sample) => number): number =>
    samples.reduce((sum, s) => sum + of(s), 0) / samples.length;
  const [step, rss] = [mean((s) => s.step), mean((s) => s.rss_mb)];
  const [xy, xx] = [mean((s) => (s.step - step) * (s.rss_mb - rss)), mean((s) => (s.step - step) ** 2)];
  return (1000 * xy) / xx;
}

const backend = await initBackend({});
const config = trainConfigSchema.parse({
  method: 'minillm',
  student: 'in memory',
  data: {},
  // 10 steps a round, so that every sample is taken at the end of one.
  train: { steps, batch_size: 8, micro_batch_size: 4, lr: 1e-4 },
  rollout: { rollouts: 40, inner_epochs: 2, max_new_tokens: 12 },
  objective: { baseline: 'value', lm_coef: 1 },
  pretrain: { length: 16 },
  eval: { every: 0 },
  checkpoint: { every: 0 },
});
const student = model(64, 1);
const context = {
  config,
  student,
  teachers: [model(96, 2)],
  train: randomRows(VOCAB, 400, 8, 'prompts').map((promptIds) => ({
    ...{ promptIds, responseIds: new Int32Array(), instruction: '', input: '', outputs: [], prompt: '' },
  })),
  corpus: randomRows(VOCAB, 400, 16, 'corpus'),
  // One token in sixteen ends a response: lengths differ, and rows leave the decode batch.
  eosIds: Array.from({ length: VOCAB / 16 }, (_, id) => id),
  scratch: { read: async () => undefined, write: async () => {} },
  log: say,
};
const state = {
  ...{ step: 0, round: 0, stepInRound: 0, rollouts: [], best: null },
  params: student.params,
  optimizer: optimizerOf(config).init(student.params),
};
const from = performance.now();
const samples: Sample[] = [];
await trainingLoop(context, minillm(), state, {
  onStep({ step, metrics }) {
    if (step % EVERY !== 0) return;
    globalThis.gc?.();
    const { numTensors: tensors, numBytes: bytes } = tf.memory();
    const rss_mb = Math.round(process.memoryUsage().rss / 1e5) / 10;
    samples.push({ step, seconds: Math.round((performance.now() - from) / 1000), rss_mb, tensors, bytes });
    say(
      `step ${step}: RSS ${rss_mb} MB, ${tensors} tensors, ${bytes} bytes, loss ${metrics.loss!.toFixed(3)}`,
    );
  },
  evaluate: async () => {},
  checkpoint: async () => {},
  stopping: () => false,
});

const settled = samples.filter(({ step }) => step >= WARMUP);
const [first, last] = [settled[0]!, settled.at(-1)!];
const summary = {
  steps,
  rss_after_warmup_mb: first.rss_mb,
  rss_at_end_mb: last.rss_mb,
  slope_mb_per_1000_steps: Math.round(100 * slopeOf(settled)) / 100,
  slope_second_half: Math.round(100 * slopeOf(settled.slice(settled.length >> 1))) / 100,
  tensors: [first.tensors, last.tensors],
  bytes: [first.bytes, last.bytes],
  seconds: last.seconds,
  forced_gc: globalThis.gc !== undefined,
};
say(JSON.stringify(summary, null, 2));
const out = join(fileURLToPath(new URL('.', import.meta.url)), 'results');
mkdirSync(out, { recursive: true });
const columns = ['step', 'seconds', 'rss_mb', 'tensors', 'bytes'] as const;
writeFileSync(
  join(out, 'soak.csv'),
  csv(
    [...columns],
    samples.map((s) => columns.map((c) => s[c])),
  ),
);
writeFileSync(
  join(out, 'soak.json'),
  `${JSON.stringify({ ...summary, environment: describeEnvironment(backend, config.seed) }, null, 2)}\n`,
);
if (last.tensors > first.tensors || last.bytes > first.bytes) {
  process.stderr.write('soak: tensors or their bytes grow\n');
  process.exitCode = 1;
}
