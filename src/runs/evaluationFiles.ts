import { join } from 'node:path';
import type { Example } from '../data/examples.js';
import type { Evaluation } from '../evaluation/evaluate.js';
import type { Tokenizer } from '../text/tokenizer.js';
import { writeFileAtomic } from './atomic.js';
import { readMetrics } from './metricsLog.js';
import { runPaths } from './runDirectory.js';
import { writeSamples } from './samples.js';

/**
 * Puts an evaluation into a run directory, where the report looks for it: `evaluation.json` (every metric with mean,
 * standard error, n and interval; the values per prompt for paired comparisons; what training cost) and
 * `samples/eval.jsonl`. The file appears last, so that its presence means the evaluation is whole.
 */
export async function writeEvaluation(
  runDir: string,
  label: string,
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
    prompts: examples.length,
    metrics: evaluation.metrics,
    per_prompt: evaluation.perPrompt,
    ...(last && { steps: last.step, train_seconds: last.train_s }),
  };
  await writeFileAtomic(join(paths.directory, 'evaluation.json'), `${JSON.stringify(json)}\n`);
}
