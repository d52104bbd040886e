import type { Example } from '../data/examples.js';
import { UsageError } from '../errors.js';
import type { Model } from '../models/model.js';
import type { Trajectory } from '../rollout/trajectory.js';
import type { Tokenizer } from '../text/tokenizer.js';
import {
  evaluationMetrics,
  type Material,
  type Metric,
  type MetricName,
  needsTeacher,
  setMetrics,
  sum,
  type Values,
} from './evaluationMetrics.js';
import { type GenerationOptions, generate } from './generations.js';
import { goldTokens } from './goldTokens.js';
import { bootstrapInterval, overSeeds, type Summary, summarize } from './metrics/statistics.js';

export interface EvaluateOptions extends GenerationOptions {
  metrics: readonly MetricName[];
  /** Seeds of the samples, one response per prompt and seed. */
  seeds: readonly number[];
}

export interface Evaluation {
  metrics: Partial<Record<MetricName, Summary>>;
  /** The mean over seeds for every prompt, for paired comparisons. */
  perPrompt: Partial<Record<MetricName, number[]>>;
  /** Samples of the first seed; empty if no metric needed any. */
  samples: Trajectory[];
}

/**
 * Measures a model on a set of examples. Sampling is at temperature 1 without truncation. With two seeds or more the
 * standard error of a sampled metric is over seeds and its interval over prompts; else both are over prompts.
 *
 * @throws UsageError when a metric needs a teacher and there is none
 */
export function evaluate(
  model: Model,
  teacher: Model | undefined,
  tokenizer: Tokenizer,
  examples: readonly Example[],
  options: EvaluateOptions,
): Evaluation {
  let drawn = false;
  const material: Material = {
    examples,
    sampled: once(() => {
      drawn = true;
      return options.seeds.map((seed) =>
        generate(model, teacher, examples, { seed, greedy: false }, options, `sampling, seed ${seed}`),
      );
    }),
    greedy: once(() =>
      generate(model, undefined, examples, { seed: 0, greedy: true }, options, 'greedy decoding'),
    ),
    teacherSampled: once(() =>
      options.seeds.map((seed) =>
        generate(
          teacher!,
          model,
          examples,
          { seed, greedy: false },
          options,
          `teacher samples, seed ${seed}`,
        ),
      ),
    ),
    gold: once(() => goldTokens(model, examples, options.batchSize)),
    text: (t) => tokenizer.decode(t.responseIds, { skipSpecial: true }).trim(),
  };
  const needy = options.metrics.find((name) => needsTeacher(name));
  if (needy && !teacher) throw new UsageError(`metric ${needy} needs a teacher; give --teacher DIR`);
  const result: Evaluation = { metrics: {}, perPrompt: {}, samples: [] };
  for (const name of options.metrics) {
    if (name in setMetrics) {
      const values = setMetrics[name as keyof typeof setMetrics].compute(material);
      if (values.every(Number.isFinite)) result.metrics[name] = summarize(values);
      continue;
    }
    const metric: Metric = evaluationMetrics[name as keyof typeof evaluationMetrics];
    const values = metric.compute(material);
    if (values.length === 0) continue;
    result.metrics[name] = summary(values, name);
    result.perPrompt[name] = examples.map((_, i) => sum(values.map((seed) => seed[i]!)) / values.length);
  }
  if (drawn) result.samples = material.sampled()[0] ?? [];
  return result;
}

function summary(values: Values, name: string): Summary {
  const bootstrap = { seed: 0, name };
  if (values.length > 1) return overSeeds(values, bootstrap);
  return { ...summarize(values[0]!), interval: bootstrapInterval(values[0]!, bootstrap) };
}

function once<T>(make: () => T): () => T {
  let value: { made: T } | undefined;
  return () => {
    value ??= { made: make() };
    return value.made;
  };
}
