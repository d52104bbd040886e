import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { z } from 'zod';
import type { Example } from '../data/examples.js';
import { UsageError } from '../errors.js';
import type { Evaluation } from '../evaluation/evaluate.js';
import type { Tokenizer } from '../text/tokenizer.js';
import { writeFileAtomic } from './atomic.js';
import { readMetrics } from './metricsLog.js';
import { validate } from './runConfig.js';
import { runPaths } from './runDirectory.js';
import { writeSamples } from './samples.js';

export interface EvaluationOrigin {
  /** What the report calls the model. */
  label: string;
  /** It is the teacher of the others, measured against itself. */
  isTeacher: boolean;
  /** The file of the prompts. */
  data: string;
  seeds: readonly number[];
  /** What a reader of the numbers should know: the report says it. */
  notes?: readonly string[];
  /** Of the model, and of the teacher where there was one. */
  parameters: number;
  teacherParameters?: number | undefined;
}

/**
 * Puts an evaluation into a run directory, where the report looks for it: `evaluation.json` (every metric with mean,
 * standard error, n and interval; the curves; the values per prompt for paired comparisons; what training cost) and
 * `samples/eval.jsonl`. The file appears last, so that its presence means the evaluation is whole.
 */
export async function writeEvaluation(
  runDir: string,
  { label, isTeacher, data, seeds, parameters, teacherParameters, notes = [] }: EvaluationOrigin,
  evaluation: Evaluation,
  examples: readonly Example[],
  tokenizer: Tokenizer,
): Promise<void> {
  const paths = runPaths(runDir);
  if (evaluation.samples.length > 0)
    await writeSamples(runDir, 'eval', evaluation.samples, examples, tokenizer);
  const last = readMetrics(paths.timing).at(-1);
  const json = {
    model: label,
    method: label,
    ...(isTeacher && { is_teacher: true }),
    ...(notes.length > 0 && { notes }),
    parameters,
    ...(teacherParameters !== undefined && { teacher_parameters: teacherParameters }),
    data: basename(data),
    prompts: examples.length,
    prompt_set: promptSet(examples),
    seeds,
    metrics: evaluation.metrics,
    curves: evaluation.curves,
    per_prompt: evaluation.perPrompt,
    ...(last && { steps: last.step, train_seconds: last.train_s }),
  };
  await writeFileAtomic(join(paths.directory, 'evaluation.json'), `${JSON.stringify(json)}\n`);
}

/** A name for these prompts in this order: values per prompt compare only where it is the same. */
function promptSet(examples: readonly Example[]): string {
  const hash = createHash('sha256');
  for (const { promptIds } of examples) hash.update(`${promptIds.join()}\n`);
  return hash.digest('hex').slice(0, 16);
}

/** A number that was not finite is written as null. */
const number = z
  .number()
  .nullable()
  .transform((x) => x ?? Number.NaN);
const evaluationSchema = z.looseObject({
  metrics: z.record(z.string(), z.looseObject({ mean: number, stderr: z.number().nullable() })),
  per_prompt: z.record(z.string(), z.array(number)).optional(),
  train_seconds: z.number().optional(),
  steps: z.number().optional(),
});
export type EvaluationFile = z.output<typeof evaluationSchema>;

/** An evaluation.json, as far as tables need it. @throws UsageError naming the file and the field */
export async function readEvaluation(file: string): Promise<EvaluationFile> {
  const text = await readFile(file, 'utf8').catch((error: NodeJS.ErrnoException) => {
    throw new UsageError(`${file}: cannot be read (${error.code}); evaluate the model with eval --run`);
  });
  return parseEvaluation(text, file);
}

/** The same of a text that was read. */
export function parseEvaluation(text: string, file: string): EvaluationFile {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw new UsageError(`${file}: not valid JSON; delete it, and evaluate the model again with eval --run`);
  }
  return validate(evaluationSchema, value, file);
}
