import { createHash } from 'node:crypto';
import { basename, join } from 'node:path';
import type { Example } from '../data/examples.js';
import type { Evaluation } from '../evaluation/evaluate.js';
import type { Tokenizer } from '../text/tokenizer.js';
import { writeFileAtomic } from './atomic.js';
import { readMetrics } from './metricsLog.js';
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
