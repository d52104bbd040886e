import { createHash } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { gunzipSync, gzipSync } from 'node:zlib';
import { z } from 'zod';
import { makeDirectory, writeAtomicallySync } from '../durable.js';
import type { Generation, GenerationRequest, GenerationStore } from '../evaluation/generations.js';

/** Bumped whenever the same request may give other responses. */
const FORMAT = 1;

const row = z.strictObject({
  ids: z.array(z.number().int().min(0)).min(1),
  logprobs: z.array(z.number()),
  finished: z.boolean(),
});
const content = z.strictObject({ key: z.string(), rows: z.array(row) });

export interface GenerationCacheOptions {
  /** Digests of the weights (`modelDigest`); the one of the teacher where there is one. */
  model: string;
  teacher?: string | undefined;
  /** Name and build of the engine: another one rounds differently, and a sample may fall differently. */
  engine: string;
  log: (line: string) => void;
}

/**
 * Finished responses of models, one file for each set in `directory`, named by the digest of what they depend on: the
 * weights, the engine, the prompts and the sampling. Nothing else is looked at, so that students of one teacher, or
 * evaluations of one model with other metrics, can share a directory. A file that cannot be used is replaced, with a note.
 */
export function generationCache(directory: string, options: GenerationCacheOptions): GenerationStore {
  const fileOf = (key: string): string => join(directory, `${key.slice(0, 32)}.json.gz`);
  return {
    load: (request) => {
      const key = keyOf(request, options);
      const file = fileOf(key);
      if (!existsSync(file)) return undefined;
      try {
        return parse(readFileSync(file), key, request);
      } catch (error) {
        options.log(
          `note: ${file} cannot be used (${(error as Error).message}); its responses are made again`,
        );
        return undefined;
      }
    },
    save: (request, generations) => {
      const key = keyOf(request, options);
      const rows: z.input<typeof row>[] = generations.map((g) => ({
        ids: Array.from(g.responseIds),
        logprobs: Array.from(g.studentLogprobs),
        finished: g.finished,
      }));
      makeDirectory(directory);
      writeAtomicallySync(fileOf(key), gzipSync(JSON.stringify({ key, rows })));
    },
  };
}

function keyOf(request: GenerationRequest, options: GenerationCacheOptions): string {
  const { of, prompts, ...sampling } = request;
  const asked = createHash('sha256');
  for (const ids of prompts) asked.update(`${ids.join()}\n`);
  const address = {
    format: FORMAT,
    weights: of === 'teacher' ? options.teacher : options.model,
    engine: options.engine,
    prompts: asked.digest('hex'),
    ...sampling,
  };
  return createHash('sha256').update(JSON.stringify(address)).digest('hex');
}

/** @throws Error saying in a few words what is wrong */
function parse(bytes: Buffer, key: string, request: GenerationRequest): Generation[] {
  let value: unknown;
  try {
    value = JSON.parse(gunzipSync(bytes, { maxOutputLength: 2 ** 31 }).toString('utf8'));
  } catch {
    throw new Error('damaged');
  }
  const parsed = content.safeParse(value);
  if (!parsed.success) throw new Error('not a list of responses');
  const { rows } = parsed.data;
  if (parsed.data.key !== key) throw new Error('belongs to another model or other prompts');
  const wrong = rows.some(
    ({ ids, logprobs }) =>
      logprobs.length !== ids.length ||
      ids.length > request.maxNewTokens ||
      ids.some((id) => id >= request.vocabSize),
  );
  if (rows.length !== request.prompts.length || wrong) throw new Error('does not fit the prompts');
  return rows.map((r, promptIndex) => ({
    promptIndex,
    promptIds: request.prompts[promptIndex]!,
    responseIds: Int32Array.from(r.ids),
    studentLogprobs: Float32Array.from(r.logprobs),
    finished: r.finished,
  }));
}
