import { z } from 'zod';
import { turnChoices } from '../data/conversations.js';
import { specialTokenUses } from '../data/examples.js';
import { modelDtypes } from '../models/dtypes.js';
import { objectiveOverrides, presetNames } from '../objectives/presets.js';
import { kdScaleNames } from '../objectives/softening.js';
import { samplingSchemeNames } from '../rollout/uniforms.js';
import { backendNames, precisions } from '../tensor/backend.js';
import { isDate } from '../text/date.js';
import { promptFormats } from '../text/template.js';
import { cachedTeacher, count, lora, model, path, remoteTeacher, reward, wordnet } from './configParts.js';

/** The training methods: one loop, one entry each (src/training/methods.ts). */
export const methodNames = [
  'minillm',
  'sft',
  'kd',
  'reverse-kd',
  'seqkd',
  'babyllama',
  'gkd',
  'imitkd',
  'distillm',
  'opd',
] as const;

/** Methods that learn from rounds of scored rollouts, by policy gradient. */
export function isPolicyGradient(method: (typeof methodNames)[number]): boolean {
  return method === 'minillm' || method === 'opd';
}

export const trainConfigSchema = z.strictObject({
  method: z.enum(methodNames).describe('what is minimised'),
  seed: z.number().int().default(1).describe('every random number of the run follows from it'),
  backend: z.enum(backendNames).optional().describe('default: the fastest that loads'),
  threads: count.optional().describe('threads for tensor operations; part of what makes a run repeatable'),
  precision: z.enum(precisions).optional().describe('of matrix products on a GPU; default: tf32'),
  student: model.describe('Hugging Face directory to start from, or the shape of a new model'),
  lora: lora.optional().describe('train low-rank adapters of the student, which stays as it is'),
  teacher: z
    .union([path, remoteTeacher, cachedTeacher, z.array(path).min(1)], {
      error:
        'expected the path of a model directory, a URL (or its fields), a cache, or a list of paths and URLs',
    })
    .optional()
    .describe('Hugging Face directory; babyllama takes several'),
  student_dtype: z.enum(modelDtypes).optional().describe('how its weights are kept; default: float32'),
  teacher_dtype: z
    .enum(modelDtypes)
    .optional()
    .describe("how teachers' weights are kept in memory; default: float32"),
  data: z.strictObject({
    wordnet: wordnet
      .optional()
      .describe('build the embedded WordNet instruction set instead of reading files'),
    train: path.optional().describe('JSONL or JSON with instruction, input, output'),
    valid: path.optional().describe('without it nothing is validated'),
    corpus: path.optional().describe('plain text for the pretraining loss'),
    template: z
      .enum(promptFormats)
      .default('alpaca')
      .describe('how instruction and input become a prompt; chat: the template of the tokenizer'),
    template_args: z
      .record(z.string(), z.unknown())
      .default({})
      .describe('template chat: variables that the chat template reads, as enable_thinking'),
    turns: z
      .enum(turnChoices)
      .default('last')
      .describe("which of the assistant's turns in messages are learnt from"),
    date: z
      .string()
      .refine(isDate, 'expected a date as 2026-01-31')
      .optional()
      .describe('template chat: the day that a template writes; default: of the first start'),
    bos: z
      .boolean()
      .default(true)
      .describe('the beginning token of the tokenizer in front of prompts and documents, where it has one'),
    special_tokens: z
      .enum(specialTokenUses)
      .default('tokens')
      .describe('special tokens inside the text of a row: control tokens, or plain text'),
    max_prompt_tokens: count.default(256).describe('longer prompts are dropped'),
    max_tokens: count.default(512).describe('longer prompt + response pairs are dropped'),
  }),
  train: z.strictObject({
    steps: z
      .number()
      .int()
      .min(0)
      .default(0)
      .describe('optimizer steps; where epochs is given, 0 until the data is read (training/epochs.ts)'),
    epochs: z
      .number()
      .positive()
      .optional()
      .describe('passes over the training rows, instead of steps; a fraction is allowed'),
    batch_size: count.default(32).describe('responses in an optimizer step, over all micro-batches'),
    micro_batch_size: count
      .optional()
      .describe('responses in one forward and backward pass; results do not depend on it'),
    shards: count
      .refine((n) => Number.isInteger(Math.log2(n)), 'expected a power of two')
      .default(1)
      .describe(
        'parts of every batch that are computed by themselves; any power of two of processes up to it share them, to the same bytes',
      ),
    gradient_checkpointing: z
      .boolean()
      .default(false)
      .describe('compute the inside of every block of the student again in the backward pass: less memory'),
    prompt_weight: z
      .number()
      .min(0)
      .default(0)
      .describe('sft: weight of the loss on prompt tokens beside the response'),
    kd_temperature: z
      .number()
      .positive()
      .default(1)
      .describe('kd, reverse-kd, seqkd, gkd, imitkd, distillm: T of both models in the divergence'),
    kd_scale: z.enum(kdScaleNames).default('none').describe('t-squared: the divergence is multiplied by T²'),
    lr: z.number().positive(),
    schedule: z.enum(['constant', 'cosine', 'linear']).default('cosine'),
    min_lr_ratio: z
      .number()
      .min(0)
      .max(1)
      .default(0.1)
      .describe('where cosine and linear end, as a share of lr'),
    warmup: z.number().int().min(0).default(0).describe('steps of linear warm-up'),
    weight_decay: z.number().min(0).default(0.01),
    betas: z.tuple([z.number().min(0).lt(1), z.number().min(0).lt(1)]).default([0.9, 0.95]),
    eps: z.number().positive().default(1e-8),
    clip: z.number().min(0).default(1).describe('global gradient norm; 0 = off'),
    max_seconds: z
      .number()
      .positive()
      .optional()
      .describe('end after so many seconds of training, validation and saving not counted'),
    max_teacher_tokens: count
      .optional()
      .describe('end once the teachers have read and written so many tokens'),
  }),
  objective: objectiveOverrides
    .extend({ preset: z.enum(presetNames).default('minillm') })
    .prefault({})
    .describe('minillm: a preset and any switch on its own; opd: switches'),
  rewards: z.array(reward).min(1).optional().describe('minillm, opd: rewards of a task beside the teacher'),
  rollout: z
    .strictObject({
      rollouts: count.default(64).describe('responses collected in a round'),
      samples: count.default(1).describe('responses to each prompt (K)'),
      sampling: z
        .enum(samplingSchemeNames)
        .default('independent')
        .describe('how the random numbers of these K depend on one another'),
      states: z
        .enum(['sampled', 'gold'])
        .default('sampled')
        .describe('where a round learns: in its own samples, or in the gold responses to its prompts'),
      inner_epochs: count.default(2).describe('passes over the rollouts of a round'),
      max_new_tokens: count.default(256),
      temperature: z
        .number()
        .positive()
        .default(1)
        .describe('gkd, imitkd, distillm: of sampling; minillm and opd have objective.temperature'),
      top_k: z.number().int().min(0).default(0),
      top_p: z.number().gt(0).max(1).default(1),
      min_p: z
        .number()
        .min(0)
        .lt(1)
        .default(0)
        .describe('keep tokens at least this share as probable as the likeliest; 0 = all'),
      repetition_penalty: z
        .number()
        .positive()
        .default(1)
        .describe('θ of CTRL on the logits of tokens in prompt and response; 1 = off'),
      no_repeat_ngram: z
        .number()
        .int()
        .min(0)
        .default(0)
        .describe('no n-gram of this length twice in prompt and response; 0 = off'),
      stop_strings: z
        .array(z.string().min(1).max(200))
        .default([])
        .describe('a response ends with the token that completes one of them'),
      batch_size: count.default(64).describe('responses decoded together; results do not depend on it'),
    })
    .prefault({}),
  value: z
    .strictObject({
      lr: z.number().positive().default(0.01).describe('of Adam, constant'),
      steps: count.default(20).describe('updates on the responses of every round'),
    })
    .prefault({})
    .describe('the head V(s) of baselines value and action-value and of the gae returns'),
  kd: z
    .strictObject({
      ratio: z.number().min(0).max(1).default(0.5).describe('kd, seqkd: share of the teacher term'),
      alpha: z.number().min(0).max(1).default(0.5).describe('babyllama: share of the cross-entropy'),
      temperature: z.number().positive().default(2).describe('babyllama: T of the softened distributions'),
      reduction: z
        .enum(['batchmean', 'token'])
        .default('token')
        .describe('babyllama: how the teacher term is averaged'),
    })
    .prefault({}),
  gkd: z
    .strictObject({
      beta: z.number().min(0).max(1).default(0.5).describe('of JSD(β): 0 = forward KL, 1 = reverse KL'),
      lambda: z
        .number()
        .min(0)
        .max(1)
        .default(0.5)
        .describe('share of the steps that learn from own samples'),
      seq_kd: z.boolean().default(false).describe('the other steps learn from samples of the teacher'),
    })
    .prefault({}),
  imitkd: z
    .strictObject({
      gold_decay: z
        .number()
        .min(0)
        .max(1)
        .default(0)
        .describe('r: at step i of I gold responses are used with probability r^(i/I); 0 = never'),
    })
    .prefault({}),
  distillm: z
    .strictObject({
      divergence: z.enum(['skew-forward', 'skew-reverse']).default('skew-reverse'),
      lambda: z.number().min(0).max(1).default(0.1).describe('λ of the skew divergence'),
      threshold: z.number().min(0).max(1).default(0).describe('φ to begin with'),
      threshold_step: z.number().min(0).max(1).default(0.1).describe('what φ grows by'),
      tolerance: z.number().default(0.1).describe('how much the validation loss grows before φ does'),
      capacity: count.default(1000).describe('responses in the replay buffer'),
      lm_coef: z.number().min(0).default(0).describe('weight of the cross-entropy on plain text'),
    })
    .prefault({}),
  pretrain: z
    .strictObject({
      length: z.number().int().min(2).default(64).describe('tokens in a piece of plain text'),
      batch_size: count.optional().describe('pieces in an optimizer step; default: train.batch_size'),
      rows: z
        .enum(['round', 'step'])
        .default('round')
        .describe(
          'round: every pass over a round meets the same pieces, scored once; step: always fresh ones',
        ),
      teacher_cache: path
        .optional()
        .describe('minillm: what the teacher says of the plain text, from minillm cache-teacher'),
    })
    .prefault({}),
  eval: z
    .strictObject({
      every: z.number().int().min(0).default(100).describe('steps between validations; 0 = only at the end'),
      prompts: count.default(200).describe('validation prompts used'),
      samples: count
        .optional()
        .describe('samples of each validation prompt; default: as many as make 200 in all, 1 to 5'),
      select: z
        .enum(['loss', 'rouge_l'])
        .optional()
        .describe('what best/ is chosen by; default: loss for sft, else rouge_l'),
      patience: count
        .optional()
        .describe('end after so many validations in a row without a better one; default: never'),
      max_new_tokens: count.optional().describe('default: rollout.max_new_tokens'),
      metrics: z
        .array(z.string())
        .default([])
        .describe('metrics of eval that are computed beside the usual ones'),
    })
    .prefault({}),
  checkpoint: z
    .strictObject({
      every: z
        .number()
        .int()
        .min(0)
        .default(100)
        .describe('steps between checkpoints; 0 = none before the end'),
      keep: count.default(2).describe('how many checkpoints are kept'),
    })
    .prefault({}),
});

export type TrainConfig = z.output<typeof trainConfigSchema>;
/**
 * Whether training or its own validation loss reads the reference answers. Methods that answer the prompts themselves, or have the teacher do it,
 * read prompts only: `seqkd`, `minillm`, `opd`, `gkd` and `imitkd`, where no step is on gold responses.
 */
export function readsReferences({ method, gkd, imitkd, rollout, objective }: TrainConfig): boolean {
  if (isPolicyGradient(method)) return rollout.states === 'gold' || (objective.gold_coef ?? 0) > 0;
  if (method === 'gkd') return gkd.lambda < 1 && !gkd.seq_kd;
  if (method === 'imitkd') return imitkd.gold_decay > 0;
  return method !== 'seqkd';
}

/** A configuration as a person writes it: what has a default may be left out. */
export type TrainConfigInput = z.input<typeof trainConfigSchema>;
