import { LOGITS, TOKENS } from '../evaluation/tokenScores.js';
import type { ModelConfig } from '../models/config.js';
import type { Sequence } from '../models/packed.js';
import { needsActions } from '../objectives/advantages.js';
import { isPolicyGradient, type TrainConfig } from '../training/config.js';
import { MICRO_BATCH } from '../training/microBatches.js';
import { objectiveOf } from '../training/minillm.js';
import { keptTextLogits } from '../training/pretraining.js';
import { keptTeacherLogits } from '../training/teacherLogits.js';
import { type PlanInputs, weightBytes } from './inputs.js';

/** Bytes; everything is float32 but what `student_dtype` and `teacher_dtype` say. */
export interface MemoryPlan {
  /** Node, TensorFlow, our code, a tokenizer and a few thousand rows; on a card what is in use before the run, by whomever. */
  process: number;
  student_weights: number;
  adam_moments: number;
  teacher_weights: number;
  /** The teacher's logits that are kept from the rollout (or the first pass over plain text) for later passes. */
  teacher_logits_kept: number;
  /** Keys and values of the decode batch, of all models that take part. */
  kv_cache: number;
  /** Logits of the decode batch, of all models that take part. */
  decode_logits: number;
  /** What the backward pass keeps of the blocks for the largest micro-batch, as configured. */
  activations: number;
  activations_without_checkpointing: number;
  activations_with_checkpointing: number;
  /** Logits of the largest micro-batch: the student's, their gradient, one set of each teacher's, and what a head says of all actions. */
  logits: number;
  /** With several passes in a step: what is added up, what is added, and the sum. */
  gradients: number;
  /** Logits and activations of the responses that validation scores together. */
  validation: number;
  /** The parts that stay, and the largest of what comes and goes. */
  total: number;
  peak_in: 'rollout' | 'backward' | 'update' | 'validation';
}

/** What a process takes that has the native engine, a tokenizer and 2,000 rows; measured, 64-bit Linux. */
const PROCESS = 580e6;

/**
 * Memory at the worst moment of a run: sequences as long as the data and the limits allow, in a full micro-batch.
 *
 * Kept for the backward pass of a block, in numbers a position: 4 widths (input, both norms, the sum after attention),
 * queries, keys, values and the output of attention, and 2 (3 with a gate) inner widths of the feed-forward part. With gradient
 * checkpointing: the input of every block, and all this for one block.
 *
 * @param card.inUse bytes of a card that are in use before the run @param card.logitsBudget of teacher logits of a round that are kept
 * @param ranks processes that share the run; the bytes are those of one
 */
export function memoryOf(
  config: TrainConfig,
  { models, data, hasText }: PlanInputs,
  { inUse = PROCESS, logitsBudget }: { inUse?: number; logitsBudget?: number | undefined } = {},
  ranks = 1,
): MemoryPlan {
  const [student, ...teachers] = models;
  const n = student!.size.trained;
  const adapters = student!.config.lora ? n : 0;
  const taught = config.method === 'sft' ? [] : teachers;
  const vocabulary = Math.min(...models.map((model) => model.config.vocabSize));
  const { rollout, train, pretrain } = config;
  const policy = isPolicyGradient(config.method);
  const objective = policy ? objectiveOf({ config }) : undefined;
  const longestPrompt = most(data.train, (s) => s.promptIds.length);
  const longestGold = most(data.train, (s) => s.promptIds.length + s.responseIds.length - 1);
  const goldRows = most(data.train, (s) => s.responseIds.length);
  const samples = decodes(config);
  const sampled = (policy && rollout.states === 'sampled') || goldRows === 0; // rows of prompts only: all that is learned from is sampled
  const length = sampled ? longestPrompt + rollout.max_new_tokens - 1 : longestGold;
  const rows = sampled ? rollout.max_new_tokens : goldRows;
  const own = train.shards / ranks;
  const ofShard = (rows: number): number => Math.ceil(rows / train.shards);
  const micro = Math.min(train.micro_batch_size ?? MICRO_BATCH, ofShard(train.batch_size));
  const textMicro = hasText
    ? Math.min(train.micro_batch_size ?? MICRO_BATCH, ofShard(pretrain.batch_size ?? train.batch_size))
    : 0;
  const positions = Math.max(micro * length, textMicro * (pretrain.length - 1));
  const logitRows = Math.max(micro * rows, textMicro * (pretrain.length - 1));
  const [plain, checkpointed] = activationsOf(student!.config, positions);
  const passes = Math.ceil(ofShard(train.batch_size) / micro) + (textMicro > 0 ? 1 : 0);
  const width = Math.min(rollout.batch_size, ofShard(policy ? rollout.rollouts : train.batch_size));
  const slots = longestPrompt + rollout.max_new_tokens;
  const decoding = samples ? (policy || config.method === 'seqkd' ? models : [student!]) : [];
  const keptRound =
    policy &&
    taught.length > 0 &&
    keptTeacherLogits(rollout.rollouts, rollout.max_new_tokens, vocabulary, logitsBudget)
      ? (rollout.rollouts / ranks) * rollout.max_new_tokens * vocabulary * 4
      : 0;
  const textTokens =
    (rollout.rollouts / train.batch_size) * (pretrain.batch_size ?? train.batch_size) * (pretrain.length - 1);
  const keptText =
    policy &&
    hasText &&
    objective!.lm_coef > 0 &&
    objective!.kd_ratio > 0 &&
    pretrain.teacher_cache === undefined &&
    pretrain.rows === 'round' &&
    rollout.inner_epochs > 1
      ? (keptTextLogits(textTokens, vocabulary) / ranks) * vocabulary * 4
      : 0;
  const parts = {
    process: inUse,
    student_weights: weightBytes(student!) + 4 * adapters,
    adam_moments: 8 * n,
    teacher_weights: taught.reduce((sum, teacher) => sum + weightBytes(teacher), 0),
    teacher_logits_kept: keptRound + keptText,
    kv_cache: decoding.reduce(
      (sum, { config: c }) => sum + 8 * width * slots * c.layers * c.kvHeads * c.headDim,
      0,
    ),
    decode_logits: decoding.reduce((sum, { config: c }) => sum + 4 * width * c.vocabSize, 0),
    activations: train.gradient_checkpointing ? checkpointed : plain,
    activations_without_checkpointing: plain,
    activations_with_checkpointing: checkpointed,
    logits: 4 * logitRows * vocabulary * (2 + taught.length + (objective && needsActions(objective) ? 1 : 0)),
    gradients: 4 * n * gradientSets(own, passes, ranks),
    validation: validationOf(data, models, vocabulary),
  };
  const stays =
    parts.process +
    parts.student_weights +
    parts.adam_moments +
    parts.teacher_weights +
    parts.teacher_logits_kept;
  const moments = {
    rollout: parts.kv_cache + parts.decode_logits,
    backward: 4 * n * (Math.log2(own) + (passes > 1 ? 1 : 0)) + parts.activations + parts.logits,
    update: parts.gradients,
    validation: parts.validation,
  };
  const [peak, largest] = Object.entries(moments).sort(([, a], [, b]) => b - a)[0]!;
  return { ...parts, total: stays + largest, peak_in: peak as MemoryPlan['peak_in'] };
}

/**
 * Gradients that are held at the same time: of a shard with several passes what is added up, what is added, and the sum; of several
 * shards also a sum for each level of the tree (training/gradientTree.ts); over ranks what was exchanged and what is made of it.
 */
function gradientSets(shards: number, passes: number, ranks: number): number {
  const ofShard = passes > 1 ? 3 : 1;
  const here = shards === 1 ? ofShard : Math.log2(shards) + Math.max(ofShard, 2);
  return ranks > 1 ? Math.max(here, 2) : here;
}

/** Every model's logits, those of the token being compared, and a block's activations of what is read together. */
function validationOf(data: PlanInputs['data'], models: PlanInputs['models'], vocabulary: number): number {
  const rows = data.valid.reduce((total, s) => total + s.responseIds.length, 0);
  const positions = data.valid.reduce((total, s) => total + s.promptIds.length + s.responseIds.length, 0);
  const block = Math.max(
    ...models.map(({ config }) => activationsOf({ ...config, layers: 1 }, Math.min(TOKENS, positions))[0]),
  );
  return 4 * Math.min(LOGITS, rows * vocabulary) * (models.length + 1) + block;
}

function most(rows: readonly Sequence[], length: (s: Sequence) => number): number {
  return rows.reduce((largest, s) => Math.max(largest, length(s)), 0);
}

/** Whether models sample in training. */
function decodes({ method, gkd, distillm, rollout }: TrainConfig): boolean {
  if (rollout.states === 'gold' && isPolicyGradient(method)) return false;
  if (method === 'gkd') return gkd.lambda > 0 || gkd.seq_kd;
  if (method === 'distillm') return distillm.threshold > 0;
  return isPolicyGradient(method) || method === 'seqkd' || method === 'imitkd';
}

/** Bytes without and with gradient checkpointing. */
function activationsOf(c: ModelConfig, positions: number): [plain: number, checkpointed: number] {
  const gated = c.family !== 'gpt2' && c.family !== 'opt';
  const block =
    4 * c.hiddenSize + 2 * (c.heads + c.kvHeads) * c.headDim + (gated ? 3 : 2) * c.intermediateSize;
  const tokens = 4 * positions;
  return [tokens * c.layers * block, tokens * (c.layers * c.hiddenSize + block)];
}
