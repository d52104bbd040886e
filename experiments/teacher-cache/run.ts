/**
 * teacher-cache: what top-k with a tail bucket changes in a loss and its gradient, `node experiments/teacher-cache/run.ts OUT`.
 * The WordNet pair on the first ROWS validation rows: the teacher itself, and caches of K tokens. Writes OUT/bias.csv.
 */
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { csv } from '../../src/report/escape.js';
import { cacheTeacher } from '../../src/runs/cacheTeacher.js';
import { dataFiles, loadMaterials } from '../../src/runs/materials.js';
import { freshState } from '../../src/runs/openRun.js';
import { trainConfigFrom } from '../../src/runs/runConfig.js';
import { CachedTeacher } from '../../src/scoring/cache/cachedTeacher.js';
import { initBackend } from '../../src/tensor/backend.js';
import { disposeParams, type Params } from '../../src/tensor/params.js';
import type { TrainConfig, TrainConfigInput } from '../../src/training/config.js';
import { batchGradients } from '../../src/training/gradients.js';
import { methods } from '../../src/training/methods.js';

const ROWS = 512;
const counts = [5, 20, 50, 200];
/** Losses that are one divergence and nothing else, token mean. */
const losses: { loss: string; temperature: number; fields: Partial<TrainConfigInput> }[] = [
  { loss: 'forward KL', temperature: 1, fields: babyllama(1) },
  { loss: 'reverse KL', temperature: 1, fields: { method: 'reverse-kd' } },
  { loss: 'forward KL', temperature: 2, fields: babyllama(2) },
];

function babyllama(temperature: number): Partial<TrainConfigInput> {
  return { method: 'babyllama', kd: { alpha: 0, temperature } };
}

const [out] = process.argv.slice(2) as [string];
mkdirSync(out, { recursive: true });
const { engine } = await initBackend({ threads: 1 });
const quiet = { log: () => {}, stopping: () => false, engine };

const base = {
  method: 'kd',
  student: 'experiments/wordnet/student',
  teacher: 'experiments/wordnet/teacher',
  data: { wordnet: {}, template: 'plain', max_prompt_tokens: 48, max_tokens: 80 },
  train: { steps: 1, batch_size: ROWS, lr: 1 },
  rollout: { max_new_tokens: 40 },
} satisfies TrainConfigInput;
const { valid } = await dataFiles(await trainConfigFrom(base), () => {});
const rows = readFileSync(valid!, 'utf8').split('\n').slice(0, ROWS);
writeFileSync(join(out, 'rows.jsonl'), `${rows.join('\n')}\n`);
const { wordnet: _, ...limits } = base.data;
const data = { ...limits, train: join(out, 'rows.jsonl') };

/** Value and gradient of the loss of one optimizer step on all rows, at the student as it is. */
async function measure(config: TrainConfig): Promise<{ value: number; grads: Params }> {
  const materials = await loadMaterials(config, () => {});
  const { student, teachers, train, corpus } = materials;
  const scratch = { read: async () => undefined, write: async () => {} };
  const context = {
    ...{ config, student, teachers, train, corpus, scratch },
    eosIds: student.config.eosIds,
    log: () => {},
  };
  const { micro } = methods[config.method]().step(context, freshState(config, materials));
  const { values, grads } = batchGradients(micro, student.params);
  for (const { params, remote } of [student, ...teachers]) {
    disposeParams(params);
    remote?.cache?.close();
  }
  return { value: values.loss!, grads: grads! };
}

function products(a: Params, b: Params): { aa: number; ab: number; bb: number } {
  const sums = { aa: 0, ab: 0, bb: 0 };
  for (const name of Object.keys(a)) {
    const [x, y] = [a[name]!.dataSync(), b[name]!.dataSync()];
    for (let i = 0; i < x.length; i++) {
      sums.aa += x[i]! * x[i]!;
      sums.ab += x[i]! * y[i]!;
      sums.bb += y[i]! * y[i]!;
    }
  }
  return sums;
}

async function meanTail(directory: string, config: TrainConfig): Promise<number> {
  const cached = await CachedTeacher.open(directory);
  const { train } = await loadMaterials(config, () => {});
  const sequences = Array.from({ length: train.length }, (_, i) => train.at(i)!);
  const tails = cached.cache.tails(sequences).flatMap((x) => Array.from(x));
  cached.close();
  return tails.reduce((sum, x) => sum + x, 0) / tails.length;
}

const found: (string | number)[][] = [];
for (const { loss, temperature, fields } of losses) {
  const config = await trainConfigFrom({ ...base, data, ...fields });
  const whole = await measure(config);
  for (const k of counts) {
    const directory = join(out, 'cache');
    rmSync(directory, { recursive: true, force: true });
    const cached = await cacheTeacher(config, directory, {
      ...quiet,
      topK: k,
      dtype: 'f16',
      shardRows: 1000,
    });
    const from = await trainConfigFrom({ ...base, data, ...fields, teacher: { cache: directory } });
    const part = await measure(from);
    const { aa, ab, bb } = products(whole.grads, part.grads);
    found.push([
      ...[
        loss,
        temperature,
        k,
        cached.bytes_per_token,
        await meanTail(directory, from),
        part.value,
        whole.value,
      ],
      part.value / whole.value - 1,
      Math.sqrt(Math.max(0, aa - 2 * ab + bb) / aa),
      ab / Math.sqrt(aa * bb),
    ]);
    disposeParams(part.grads);
    process.stderr.write(`${found.at(-1)!.join(' ')}\n`);
  }
  disposeParams(whole.grads);
}
const head = [
  'loss',
  'temperature',
  'k',
  'bytes_per_token',
  'tail',
  'value',
  'whole',
  'bias',
  'gradient_error',
  'cosine',
];
writeFileSync(join(out, 'bias.csv'), csv(head, found));
