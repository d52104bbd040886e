import { basename, extname } from 'node:path';
import { z } from 'zod';
import { familyNames } from '../models/families.js';
import { distributionKinds } from '../scoring/teacher.js';

/* What a configuration takes from outside: models, a teacher behind a server, the data that comes along, rewards. */

export const count = z.number().int().min(1);
export const path = z.string().min(1);

export const model = z.union(
  [
    path,
    z.strictObject({
      family: z.enum(familyNames).default('llama'),
      hidden_size: count,
      layers: count,
      heads: count,
      kv_heads: count.optional().describe('LLaMA only; default: heads'),
      intermediate_size: count.optional().describe('default: 8/3 of hidden_size (LLaMA), 4 times (GPT-2)'),
      max_positions: count.default(512),
      tied_head: z.boolean().default(true),
      tokenizer: path.describe('directory with tokenizer.json'),
    }),
  ],
  { error: 'expected the path of a model directory, or the shape of a new model (hidden_size, layers, ...)' },
);

/** Low-rank adapters of the student (docs/lora.md). */
export const lora = z.strictObject({
  rank: count
    .max(1 << 16)
    .default(16)
    .describe('r of the two matrices of every adapter'),
  alpha: z.number().positive().max(1e9).default(32).describe('the adapter counts alpha / rank'),
  targets: z
    .union([path, z.array(path).min(1)], { error: 'expected all-linear, or names of linear maps' })
    .default('all-linear')
    .describe('linear maps that get one, as q_proj or c_attn; all-linear: all but the output head'),
  modules_to_save: z
    .array(path)
    .default([])
    .describe('modules that train whole beside the adapters, as lm_head or norm'),
  rslora: z.boolean().default(false).describe('alpha / sqrt(rank) instead'),
});
export type LoraConfig = z.output<typeof lora>;

export const wordnet = z.strictObject({
  train_rows: count.default(30_000),
  valid_rows: count.default(1_000),
  test_rows: count.default(500),
  seed: z.number().int().default(1),
});

/** A reward of the task beside the teacher's (docs/rewards.md). */
export const reward = z.strictObject({
  module: path.describe('JavaScript or TypeScript file with the function'),
  export: z.string().min(1).default('default').describe('which of its exports'),
  name: z
    .string()
    .regex(/^\w+$/, 'expected letters, digits and _')
    .optional()
    .describe('in the log; default: that of the export, else of the file'),
  weight: z.number().default(1).describe('what it is multiplied by in the objective'),
  batch_size: count.default(64).describe('responses that one call is asked about'),
  timeout: z
    .number()
    .positive()
    .max(86_400)
    .default(60)
    .describe('seconds for one call, and for loading the module'),
});
export type RewardConfig = z.output<typeof reward>;

export function rewardName({ module, name, export: from }: RewardConfig): string {
  if (name) return name;
  if (from !== 'default') return from.replace(/\W/g, '_');
  return basename(module, extname(module)).replace(/\W/g, '_');
}

const httpUrl = z.url({ protocol: /^https?$/, error: 'expected a URL, as http://127.0.0.1:8000' });

/** A teacher behind a server (scoring/remoteTeacher.ts). */
export const remoteTeacher = z.strictObject({
  url: httpUrl.describe('of minillm serve, or of an OpenAI-compatible server that gives prompt_logprobs'),
  model: z.string().min(1).optional().describe('as the server lists it; default: its only one'),
  api_key_env: z
    .string()
    .regex(/^[A-Za-z_][A-Za-z0-9_]*$/, 'expected the name of an environment variable, not a key')
    .optional()
    .describe('environment variable that holds the key'),
  gives: z
    .enum(distributionKinds)
    .default('full')
    .describe('full: minillm serve only; top_k: kd with a tail bucket; sampled: opd'),
  top_k: count.max(1000).default(20).describe('tokens asked for with gives: top_k'),
  batch_size: count.default(16).describe('sequences in a request'),
  concurrency: count.max(64).default(4).describe('requests under way at a time'),
  retries: z.number().int().min(0).max(20).default(5).describe('tries after the first'),
  timeout: z.number().positive().max(3600).default(60).describe('seconds for one try'),
  backoff: z.number().positive().max(30).default(0.5).describe('seconds before the first repetition'),
});
export type RemoteTeacherConfig = z.output<typeof remoteTeacher>;

/** A teacher that was asked once (scoring/cache/). */
export const cachedTeacher = z.strictObject({
  cache: path.describe('directory that minillm cache-teacher wrote: kd, reverse-kd, babyllama'),
});
export type CachedTeacherConfig = z.output<typeof cachedTeacher>;

type TeacherPlace = string | RemoteTeacherConfig | CachedTeacherConfig;

/** Where a configured teacher is: the fields of a server or a cache, or a directory. A URL alone is a server with all defaults. */
export function placeOfTeacher(teacher: TeacherPlace): TeacherPlace {
  return typeof teacher === 'string' && isUrl(teacher) ? remoteTeacher.parse({ url: teacher }) : teacher;
}

/** The cache that a configured teacher is. */
export function cacheOf(teacher: unknown): string | undefined {
  const found = cachedTeacher.safeParse(teacher);
  return found.success ? found.data.cache : undefined;
}

export function isUrl(text: string): boolean {
  return /^https?:\/\//i.test(text);
}
