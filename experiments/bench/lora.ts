/**
 * A training step and sampling with adapters of rank 16 on all linear maps against the same model trained whole, in alternation
 * in one process, with the bytes that gradients and moments take.
 *
 *     npx tsx experiments/bench/lora.ts [--shape L,D,H,V] [--batch B] [--seq S] [--response R] [--what generate,sft] [--repeat N] [--rank R] [--backend NAME]
 */
import { parseArgs } from 'node:util';
import { median } from '../../src/bench/measure.js';
import { type BenchModels, benchModels } from '../../src/bench/models.js';
import { workloads } from '../../src/bench/workloads.js';
import { type BackendName, initBackend } from '../../src/tensor/backend.js';

const { values } = parseArgs({
  options: {
    shape: { type: 'string', default: '12,768,12,50257' },
    batch: { type: 'string', default: '4' },
    seq: { type: 'string', default: '128' },
    response: { type: 'string', default: '16' },
    rank: { type: 'string', default: '16' },
    repeat: { type: 'string', default: '5' },
    what: { type: 'string', default: 'generate,sft' },
    backend: { type: 'string' },
  },
});
const [layers, hiddenSize, heads, vocabSize] = values.shape.split(',').map(Number) as [
  number,
  number,
  number,
  number,
];
const [batch, seq, response, rank, repeat] = [
  values.batch,
  values.seq,
  values.response,
  values.rank,
  values.repeat,
].map(Number) as [number, number, number, number, number];

await initBackend(values.backend === undefined ? {} : { backend: values.backend as BackendName });
const source = { shape: { layers, hiddenSize, heads, vocabSize }, positions: seq + 1 };
const kinds: Record<string, BenchModels> = {
  whole: await benchModels(source),
  lora: await benchModels({ ...source, lora: rank }),
};
const sizes = {
  ...{ batch, seq, promptLen: 32, maxResponse: response, minibatch: batch, inner: 1, ptLen: 16, alpha: 0 },
};
const works = Object.entries(kinds).flatMap(([kind, models]) =>
  (['generate', 'sft'] as const)
    .filter((what) => values.what.split(',').includes(what))
    .map((what) => ({ kind, what, work: workloads[what](models, sizes) })),
);
const seconds = new Map<string, number[]>();
for (let i = 0; i <= repeat; i++)
  for (const { kind, what, work } of works) {
    const { parts } = await work.run();
    const took = Object.values(parts).reduce((sum, part) => sum + part, 0);
    if (i > 0) seconds.set(`${what} ${kind}`, [...(seconds.get(`${what} ${kind}`) ?? []), took]);
  }
const result = Object.fromEntries([...seconds].map(([name, all]) => [name, median(all)]));
const bytes = (models: BenchModels): number =>
  Object.values(models.student.params).reduce((sum, { size }) => sum + 4 * size, 0);
console.log(
  JSON.stringify(
    {
      ...{ shape: values.shape, batch, seq, response, rank, repeat, medians_s: result },
      ratios: Object.fromEntries(
        values.what.split(',').map((what) => [what, result[`${what} lora`]! / result[`${what} whole`]!]),
      ),
      gradients_and_moments_mb: Object.fromEntries(
        Object.entries(kinds).map(([kind, models]) => [kind, (3 * bytes(models)) / 1e6]),
      ),
    },
    null,
    2,
  ),
);
