/**
 * On paper: MiniLLM and SFT of GPT-2 124M and LLaMA 7B on 8, 64 and 512 GPUs, by the model of `plan --ranks` (docs/scaling.md).
 *
 *     npx tsx experiments/cluster/scaling.ts [--batch 512]
 *
 * Nothing is measured: what a GPU does is assumed, below. As many shards as ranks; the batch is the same for all.
 */
import { parseArgs } from 'node:util';
import { gpt2Config, llamaConfig } from '../../src/models/families.js';
import type { Sequence } from '../../src/models/packed.js';
import type { Speeds } from '../../src/plan/calibrate.js';
import { modelSize } from '../../src/plan/flops.js';
import type { PlannedModel } from '../../src/plan/inputs.js';
import { memoryOf } from '../../src/plan/memory.js';
import { type Network, parseNetwork } from '../../src/plan/network.js';
import { lengths } from '../../src/plan/passes.js';
import { paysUpTo, planRanks, type RanksTime } from '../../src/plan/ranks.js';
import { scheduleOf } from '../../src/plan/schedule.js';
import { workOf } from '../../src/plan/work.js';
import { type TrainConfig, trainConfigSchema } from '../../src/training/config.js';

/** An NVIDIA H200: peaks of its data sheet (TF32 without sparsity), and what share of them is assumed to be reached. */
const card = { flops: 494e12, reached: 0.35, memory: 4.8e12, read: 0.6, bytes: 141e9 };
/** Assumed: starting the kernels of one layer for one token; copying over PCIe 5. Measured here: reading, adding and
 * writing back in the processor, seconds a number. */
const host = { layer: 100e-6, pcie: 50e9, number: 5.6e-9 };

const gpt2 = (hiddenSize: number, layers: number, heads: number) =>
  gpt2Config({ vocabSize: 50257, hiddenSize, layers, heads, maxPositions: 1024 });
const llama = (hiddenSize: number, layers: number, heads: number, intermediateSize: number) =>
  llamaConfig({
    ...{ vocabSize: 32000, hiddenSize, layers, heads, maxPositions: 2048 },
    ...{ intermediateSize, tiedHead: false },
  });
const pairs = {
  'GPT-2 124M': [gpt2(768, 12, 12), gpt2(1600, 48, 25)],
  'LLaMA 7B': [llama(4096, 32, 32, 11008), llama(5120, 40, 40, 13824)],
};
type Pair = keyof typeof pairs;
const RANKS = [8, 64, 512];
const batch = Number(parseArgs({ options: { batch: { type: 'string', default: '512' } } }).values.batch);

/** Prompts of 128 tokens; responses of 96 on average, exponentially distributed, at most 256. */
const rows = Array.from({ length: 4096 }, (_, i): Sequence => {
  const u = ((i * 2654435761) % 2 ** 32) / 2 ** 32;
  return lengths(128, Math.min(256, 1 + Math.floor(-96 * Math.log(1 - u))));
});

function modelsOf(pair: Pair): PlannedModel[] {
  return pairs[pair].map((config, i) => ({
    role: i === 0 ? 'student' : 'teacher',
    ...{ source: '', config, size: modelSize(config), weights: 'absent' },
  }));
}

function configOf(method: 'minillm' | 'sft', shards: number): TrainConfig {
  return trainConfigSchema.parse({
    ...{ method, student: 'student', data: {} },
    train: {
      ...{ steps: 1000, batch_size: batch, micro_batch_size: 8, shards, lr: 5e-6 },
      gradient_checkpointing: true,
    },
    rollout: { rollouts: 4 * batch, inner_epochs: 4, max_new_tokens: 256, batch_size: 256 },
    pretrain: { length: 512, batch_size: batch, rows: 'step' },
  });
}

/** What is assumed of a card with a model. A decoding step reads all weights, and the cache of every row. */
function speedsOf({ config, size }: PlannedModel): Speeds {
  const flops = card.flops * card.reached;
  const bytes = card.memory * card.read;
  const cache = 8 * config.layers * config.kvHeads * config.headDim * 192;
  return {
    ...{ layers: config.layers, tokens: 0, forward: flops, train: flops },
    stepFixed: config.layers * host.layer + (4 * size.parameters) / bytes,
    stepRow: cache / bytes + (2 * (size.blocks + size.head)) / flops,
    ...{ update: 32 / bytes, add: 12 / bytes, hand: 8 / host.pcie + host.number },
  };
}

function planOn(pair: Pair, method: 'minillm' | 'sft', ranks: number, network: Network) {
  const models = modelsOf(pair).slice(0, method === 'sft' ? 1 : 2);
  const config = configOf(method, ranks);
  const hasText = method === 'minillm';
  const logitsBudget = 16e9;
  const work = workOf(config, {
    ...{ train: rows, trainRows: rows.length, valid: [], teachers: models.length - 1, hasText },
    ...{ vocabulary: models[0]!.config.vocabSize, responses: 'gold', logitsBudget },
  });
  const schedule = { ...scheduleOf(config, rows.length), validations: 0 };
  const data = { trainRows: rows.length, dropped: 0, train: rows, valid: [], pieces: 1 };
  const inputs = { models, remote: [], data, hasText };
  const memory = memoryOf(config, inputs, { inUse: 1e9, logitsBudget }, ranks).total;
  const plan = planRanks({ config, work, schedule, models, network, count: ranks }, models.map(speedsOf), {
    memory,
  });
  return { plan, time: plan.times!.at(-1)! };
}

/** By what the parts of a step are more than the share of one rank of those of one GPU: the largest is what limits. */
function limit(time: RanksTime, single: RanksTime, wire: number): string {
  const over = Object.entries(time.per_step)
    .filter(([part]) => part !== 'total')
    .map(([part, s]) => [part, s - (single.per_step[part] ?? 0) / time.ranks] as const)
    .sort(([, a], [, b]) => b - a);
  const [part, seconds] = over[0]!;
  const names: Record<string, string> = {
    exchange: wire > time.per_step.exchange! / 2 ? 'exchange: the network' : 'exchange: the processor',
    optimizer: 'AdamW, which all do',
    student_rollout: 'short queues: a decoding step costs as much',
    teacher_rollout: 'short queues: a decoding step costs as much',
  };
  return `${names[part] ?? `${part}: unequal shards`} (${Math.round((100 * seconds) / time.per_step.total)} %)`;
}

const number = (x: number): string => (x >= 100 ? x.toFixed(0) : x.toPrecision(2));
for (const method of ['minillm', 'sft'] as const) {
  console.log(`\n${method}, batch ${batch}\n`);
  console.log(
    '| student | network | ranks | GB a step | exchange, s | step, s | efficiency | memory, GB | what limits |\n| --- | --- | --: | --: | --: | --: | --: | --: | --- |',
  );
  const notes: string[] = [];
  for (const pair of Object.keys(pairs) as Pair[]) {
    for (const line of ['10Gbit,50us', '100Gbit,5us']) {
      const network = parseNetwork(line);
      const single = planOn(pair, method, 1, network).time;
      for (const ranks of RANKS) {
        const { plan, time } = planOn(pair, method, ranks, network);
        const step = time.per_step.total;
        const cells = [
          ...[pair, line.replace(',', ', '), `${ranks}`, number(plan.exchanged_per_step.bytes / 1e9)],
          ...[number(time.per_step.exchange!), number(step)],
          `${((100 * single.per_step.total) / ranks / step).toFixed(0)} %`,
          `${(plan.memory / 1e9).toFixed(0)}${plan.memory > card.bytes ? ': does not fit' : ''}`,
          limit(time, single, plan.wire),
        ];
        console.log(`| ${cells.join(' | ')} |`);
      }
      const all = Array.from(
        { length: Math.log2(batch) + 1 },
        (_, i) => planOn(pair, method, 2 ** i, network).time,
      );
      notes.push(
        `${pair}, ${line}: one GPU ${number(single.per_step.total)} s a step; more than ${paysUpTo(all)} no longer pay`,
      );
    }
  }
  console.log(`\n${notes.join('\n')}`);
}
