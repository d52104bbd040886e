import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { UsageError } from '../errors.js';
import type { Replay } from '../training/replay.js';
import { validate } from './runConfig.js';

/*
 * What `distillm` remembers, beside the rest of a training state: replay.json, absent for every other method.
 */

const tokenIds = z.array(z.number().int().min(0).max(0x7fffffff)).min(1);
const replaySchema = z.strictObject({
  threshold: z.number().min(0).max(1),
  reference: z.number().nullable(),
  buffer: z.array(z.strictObject({ prompt_ids: tokenIds, response_ids: tokenIds })),
});

export async function writeReplay(directory: string, replay: Replay): Promise<void> {
  const json: z.input<typeof replaySchema> = {
    threshold: replay.threshold,
    reference: replay.reference,
    buffer: replay.buffer.map(({ promptIds, responseIds }) => ({
      prompt_ids: Array.from(promptIds),
      response_ids: Array.from(responseIds),
    })),
  };
  await writeFile(join(directory, 'replay.json'), `${JSON.stringify(json)}\n`);
}

/**
 * @param vocabSize ids from here on are no tokens of the student
 * @throws UsageError naming the file when it is missing or damaged
 */
export async function readReplay(directory: string, vocabSize: number): Promise<Replay> {
  const file = join(directory, 'replay.json');
  const text = await readFile(file, 'utf8').catch((error: NodeJS.ErrnoException) => {
    throw new UsageError(`${file}: cannot be read (${error.code}); the checkpoint is incomplete`);
  });
  const { threshold, reference, buffer } = validate(replaySchema, parse(text, file), file);
  for (const [i, row] of buffer.entries()) {
    const foreign = [...row.prompt_ids, ...row.response_ids].find((id) => id >= vocabSize);
    if (foreign !== undefined) {
      throw new UsageError(`${file}: response ${i} holds the token id ${foreign}, outside the vocabulary`);
    }
  }
  return {
    threshold,
    reference,
    buffer: buffer.map((row) => ({
      promptIds: Int32Array.from(row.prompt_ids),
      responseIds: Int32Array.from(row.response_ids),
    })),
  };
}

function parse(text: string, file: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw new UsageError(`${file}: not valid JSON; the checkpoint is damaged`);
  }
}
