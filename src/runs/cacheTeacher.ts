import { createHash } from 'node:crypto';
import * as tf from '@tensorflow/tfjs-core';
import { makeDirectory } from '../durable.js';
import { RunError, UsageError } from '../errors.js';
import { sourceDigest } from '../models/adapter.js';
import { packSequences } from '../models/packed.js';
import type { Sequence } from '../models/sequence.js';
import { averageLogits } from '../objectives/babyllama.js';
import { breathe } from '../pieces.js';
import {
  type CacheIndex,
  type CacheSetting,
  rowsOf,
  shardFile,
  shardsOf,
  writeIndex,
} from '../scoring/cache/cacheIndex.js';
import { writeShard } from '../scoring/cache/shard.js';
import { type TopTokens, topTokens } from '../scoring/cache/topTokens.js';
import type { TrainConfig } from '../training/config.js';
import { placeOfTeacher } from '../training/configParts.js';
import { MICRO_BATCH, microBatches } from '../training/microBatches.js';
import { type Models, sharedVocabulary, teacherLogits } from '../training/supervised.js';
import { beginCache, refuseOther } from './cacheDirectory.js';
import { digestsOfRows, fieldsOfRows, type Part, partsOf } from './cachedRows.js';
import { claim } from './claim.js';
import { closeMaterials, dataFiles, loadMaterials } from './materials.js';
import { withRunDate } from './runDate.js';
import { runPaths } from './runDirectory.js';
import { isOnGold, readsTeacherOnText, temperatureOf } from './teacherCacheChecks.js';

export interface CacheOptions {
  topK: number;
  dtype: 'f16' | 'f32';
  /** Rows of a shard. */
  shardRows: number;
  /** Name of the engine that computes. */
  engine: string;
  log: (line: string) => void;
  /** True once the person asked to stop. */
  stopping: () => boolean;
}

export interface CacheSummary {
  out: string;
  kind: 'gold' | 'text';
  top_k: number;
  rows: number;
  /** Response tokens. */
  tokens: number;
  shards: number;
  bytes: number;
  bytes_per_token: number;
}

/**
 * Asks the teacher of a configuration once about all that its training will ask: the gold responses of `kd`, `reverse-kd` and
 * `babyllama`, the plain text of `minillm` and `opd`. What it says is kept as its K likeliest tokens, the gold one and the mass of
 * all others, at the temperature of the method; of several teachers, that of the mean of their logits. A directory that
 * holds some shards already is gone on with.
 *
 * @throws UsageError where nothing can be cached, or the directory is that of something else
 * @throws RunError after `stopping`, once the current shard is written
 */
export async function cacheTeacher(
  given: TrainConfig,
  out: string,
  options: CacheOptions,
): Promise<CacheSummary> {
  const { log } = options;
  const directories = teacherDirectories(given);
  const kind = kindOf(given);
  await refuseOther(out);
  const dated = await withRunDate(given, out, () => {});
  if (dated !== given)
    throw new UsageError(
      'data.date: the chat template writes the day; give it, so that the runs that use the cache have the same',
    );
  const config = { ...given, pretrain: { ...given.pretrain, teacher_cache: undefined } };
  const materials = await loadMaterials(config, log);
  try {
    makeDirectory(out);
    const release = await claim(runPaths(out).process, out, 'caches a teacher there');
    try {
      const parts = partsOf(kind, materials);
      const models = { student: materials.student, teachers: materials.teachers };
      const vocab = sharedVocabulary(models);
      if (options.topK > vocab)
        log(`note: top-k ${options.topK} of a vocabulary of ${vocab}: every token is kept`);
      const setting: CacheSetting = {
        format: 1,
        kind,
        top_k: Math.min(options.topK, vocab),
        dtype: options.dtype,
        temperature: kind === 'gold' ? temperatureOf(config).value : 1,
        vocab,
        teachers: await Promise.all(directories.map((at) => teacherDigest(at, config.teacher_dtype))),
        tokenizer: materials.tokenizer.fingerprint,
        data: await digestsOfRows(kind, await dataFiles(config, log)),
        rows_from: fieldsOfRows(kind, config),
        parts: parts.map(({ name, length }) => ({ name, rows: length })),
        shard_rows: options.shardRows,
        batch_size: config.train.micro_batch_size ?? MICRO_BATCH,
        engine: options.engine,
      };
      return await fill(out, await beginCache(out, setting, log), parts, models, options);
    } finally {
      await release().catch(() => {});
    }
  } finally {
    closeMaterials(materials);
  }
}

function kindOf(config: TrainConfig): CacheSetting['kind'] {
  if (isOnGold(config.method)) return 'gold';
  if (readsTeacherOnText(config)) return 'text';
  throw new UsageError(
    `method: ${config.method} asks its teacher about nothing that is known before; kd, reverse-kd and babyllama have gold responses, minillm plain text (data.corpus, with objective.lm_coef and objective.kd_ratio above 0)`,
  );
}

function teacherDirectories({ teacher }: TrainConfig): string[] {
  return [teacher ?? []].flat().map((place) => {
    const found = placeOfTeacher(place);
    if (typeof found === 'string') return found;
    throw new UsageError(
      `teacher: ${'url' in found ? 'a server' : 'a cache'}, and a cache is made of the weights; give the directory (--set teacher=DIR), on the machine that has it`,
    );
  });
}

/** Of the weights as they are kept; of a base with its adapter, or rounded to 16 bits, the digest of both together. */
async function teacherDigest(directory: string, dtype = 'float32'): Promise<string> {
  const own = await sourceDigest(directory);
  if (dtype === 'float32' && !own.includes('+')) return own;
  return createHash('sha256').update(`${own} ${dtype}`).digest('hex');
}

async function fill(
  out: string,
  index: CacheIndex,
  parts: readonly Part[],
  models: Models,
  { log, stopping }: CacheOptions,
): Promise<CacheSummary> {
  const count = shardsOf(index);
  const rows = rowsOf(index);
  if (index.shards.length > 0) log(`${index.shards.length} of ${count} shards are there`);
  const since = { time: performance.now(), tokens: 0 };
  while (index.shards.length < count) {
    const shard = index.shards.length;
    const first = shard * index.shard_rows;
    const sequences = rowsBetween(parts, first, Math.min(rows, first + index.shard_rows));
    const answered = await answers(models, sequences, index);
    index.shards.push(await writeShard(out, shardFile(shard), answered, index));
    await writeIndex(out, index);
    since.tokens += index.shards.at(-1)!.tokens;
    const rate = since.tokens / ((performance.now() - since.time) / 1000);
    log(
      `shard ${shard + 1} of ${count}: ${first + sequences.length} of ${rows} rows, ${Math.round(rate)} response tokens/s`,
    );
    await breathe();
    if (stopping() && index.shards.length < count)
      throw new RunError(
        `stopped after shard ${shard + 1} of ${count}, saved in ${out}; the same command goes on`,
        130,
      );
  }
  const sum = (of: (entry: CacheIndex['shards'][number]) => number): number =>
    index.shards.reduce((total, entry) => total + of(entry), 0);
  const [tokens, bytes] = [sum((entry) => entry.tokens), sum((entry) => entry.bytes)];
  return {
    ...{ out, kind: index.kind, top_k: index.top_k, rows, tokens, shards: count, bytes },
    bytes_per_token: Math.round((10 * bytes) / tokens) / 10,
  };
}

function rowsBetween(parts: readonly Part[], from: number, to: number): Sequence[] {
  const found: Sequence[] = [];
  let first = 0;
  for (const part of parts) {
    for (let i = Math.max(from, first); i < Math.min(to, first + part.length); i++)
      found.push(part.at(i - first));
    first += part.length;
  }
  return found;
}

/** What the teachers say of some rows. Batches do not reach over the end of a shard, so that a restart computes the same. */
async function answers(
  models: Models,
  sequences: readonly Sequence[],
  { batch_size, top_k, temperature }: CacheSetting,
): Promise<{ sequence: Sequence; top: TopTokens }[]> {
  const found = new Map<Sequence, TopTokens>();
  for (const part of microBatches(sequences, batch_size)) {
    const logprobs = tf.tidy(() => {
      const mean = averageLogits(teacherLogits(models, packSequences(part)));
      return tf.logSoftmax(temperature === 1 ? mean : tf.div(mean, temperature));
    });
    const values = logprobs.dataSync<'float32'>();
    const vocab = logprobs.shape[1]!;
    logprobs.dispose();
    let at = 0;
    for (const sequence of part) {
      const size = sequence.responseIds.length * vocab;
      found.set(sequence, topTokens(values.subarray(at, at + size), sequence.responseIds, top_k));
      at += size;
    }
    await breathe();
  }
  return sequences.map((sequence) => ({ sequence, top: found.get(sequence)! }));
}
