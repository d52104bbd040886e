import { join } from 'node:path';
import { z } from 'zod';
import { writeAtomically } from '../../durable.js';
import { UsageError } from '../../errors.js';
import { exists, readJsonObject } from '../../models/files.js';

const count = z.number().int().min(0);
const positive = z.number().int().min(1);
const digest = z.string().regex(/^[0-9a-f]{64}$/, 'expected a SHA-256 in hex');

const shardSchema = z.strictObject({
  file: z.string().regex(/^shard-\d{5}\.safetensors$/, 'expected a name as shard-00000.safetensors'),
  rows: positive,
  /** Response tokens. */
  tokens: positive,
  bytes: positive,
  sha256: digest,
});
export type ShardEntry = z.output<typeof shardSchema>;

/** What a cache is made of: another call into the same directory must ask for the same. */
export const settingSchema = z.strictObject({
  format: z.literal(1),
  /** Gold responses of training and validation rows, or pieces of plain text. */
  kind: z.enum(['gold', 'text']),
  top_k: positive.max(65536),
  dtype: z.enum(['f16', 'f32']),
  /** That the logits were divided by. */
  temperature: z.number().positive(),
  /** Ids that the distributions are over: those that student and teachers share. */
  vocab: positive.max(1 << 24),
  /** Of weights and shape; of several, the mean of their logits is cached. */
  teachers: z.array(digest).min(1),
  /** Fingerprint (text/tokenizer.ts). */
  tokenizer: z.string().min(1),
  /** Of the files, by field. */
  data: z.record(z.string(), digest),
  /** The fields of the configuration that say how a file becomes rows, by name. */
  rows_from: z.record(z.string(), z.unknown()),
  /** How many rows of each part, in the order that they are cached in. */
  parts: z.array(z.strictObject({ name: z.string(), rows: count })).min(1),
  shard_rows: positive,
  /** Sequences that the teacher read together: another number rounds otherwise. */
  batch_size: positive,
  /** What computed it, for the same reason. */
  engine: z.string(),
});
export type CacheSetting = z.output<typeof settingSchema>;

const indexSchema = settingSchema.extend({ shards: z.array(shardSchema).max(100_000) });
/** `index.json` of a cache: its setting and the shards that are finished, in the order of their rows. */
export type CacheIndex = z.output<typeof indexSchema>;

export const indexFile = (directory: string): string => join(directory, 'index.json');
export const shardFile = (shard: number): string => `shard-${String(shard).padStart(5, '0')}.safetensors`;

/** @throws UsageError in one line when there is none, or it is damaged */
export async function readIndex(directory: string): Promise<CacheIndex> {
  const file = indexFile(directory);
  if (!(await exists(file)))
    throw new UsageError(
      `${directory}: holds no index.json; expected a directory that minillm cache-teacher wrote`,
    );
  const damaged = (what: string): UsageError =>
    new UsageError(
      `${file}: ${what}; put the index back, or delete ${directory} and cache the teacher again`,
    );
  const value = await readJsonObject(file, 64 << 20).catch((error: Error) => {
    throw damaged(error.message.replace(`${file}: `, ''));
  });
  if (value.format !== 1)
    throw new UsageError(`${file}: is no index of a teacher's cache that this version reads (format 1)`);
  const parsed = indexSchema.safeParse(value);
  const issue = parsed.error?.issues[0];
  if (!parsed.success) throw damaged(`${issue!.path.join('.')}: ${issue!.message}`);
  const index = parsed.data;
  index.shards.forEach(({ file: name, rows }, i) => {
    const expected = Math.min(index.shard_rows, rowsOf(index) - i * index.shard_rows);
    if (name !== shardFile(i) || rows !== expected)
      throw damaged(
        `shards.${i} is ${name} of ${rows} rows, expected ${shardFile(i)} of ${Math.max(0, expected)}`,
      );
  });
  if (index.top_k > index.vocab) throw damaged(`top_k ${index.top_k} of a vocabulary of ${index.vocab}`);
  return index;
}

export async function writeIndex(directory: string, index: CacheIndex): Promise<void> {
  await writeAtomically(indexFile(directory), `${JSON.stringify(index, null, 1)}\n`);
}

/** Rows of all parts. */
export function rowsOf({ parts }: Pick<CacheSetting, 'parts'>): number {
  return parts.reduce((sum, { rows }) => sum + rows, 0);
}

export function shardsOf(setting: Pick<CacheSetting, 'parts' | 'shard_rows'>): number {
  return Math.ceil(rowsOf(setting) / setting.shard_rows);
}
