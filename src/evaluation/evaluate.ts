import type { Example } from '../data/examples.js';
import { UsageError } from '../errors.js';
import type { Model } from '../models/model.js';
import { type Pieces, whole } from '../pieces.js';
import type { Tokenizer } from '../text/tokenizer.js';
import { type Curves, curves } from './curves.js';
import { cannotCompute, evaluationMetrics, type MetricName, setMetrics } from './evaluationMetrics.js';
import type { Generation } from './generations.js';
import {
  gather,
  type Material,
  type MaterialOptions,
  type Metric,
  type Values,
  withMaterial,
} from './material.js';
import { bootstrapInterval, overSeeds, type Summary, summarize } from './metrics/statistics.js';

export interface EvaluateOptions extends MaterialOptions {
  metrics: readonly MetricName[];
}

export interface Evaluation {
  metrics: Partial<Record<MetricName, Summary>>;
  /** The mean over seeds for every prompt, for paired comparisons. */
  perPrompt: Partial<Record<MetricName, number[]>>;
  curves: Curves;
  /** Samples of the first seed, with the teacher's log-probabilities where there is one; empty if no metric needed any. */
  samples: Generation[];
}

/**
 * Measures a model on a set of examples. Sampling is at temperature 1 without truncation. With two seeds or more the
 * standard error of a sampled metric is over seeds and its interval over prompts; else both are over prompts.
 *
 * @throws UsageError when a metric needs something (a teacher, references, ...) that is not there
 */
export function evaluate(...given: Parameters<typeof evaluationPieces>): Evaluation {
  return whole(evaluationPieces(...given));
}

/** `evaluate`, a decoding step or a batch at a time. */
export function* evaluationPieces(
  model: Model,
  teacher: Model | undefined,
  tokenizer: Tokenizer,
  examples: readonly Example[],
  options: EvaluateOptions,
): Pieces<Evaluation> {
  const given = { teacher: teacher !== undefined, examples, seeds: options.seeds.length };
  for (const name of options.metrics) {
    const problem = cannotCompute(name, given);
    if (problem) throw new UsageError(`metric ${name} ${problem}`);
  }
  let drawn = false;
  const own = gather(model, teacher, tokenizer, examples, options);
  const material: Material = {
    ...own,
    sampled: () => {
      drawn = true;
      return own.sampled();
    },
  };
  const result: Evaluation = { metrics: {}, perPrompt: {}, curves: {}, samples: [] };
  for (const name of options.metrics) {
    if (Object.hasOwn(curves, name)) {
      const curve = curves[name as keyof typeof curves];
      Object.assign(result.curves, yield* withMaterial(() => curve(material)));
    }
    if (name in setMetrics) {
      const { compute } = setMetrics[name as keyof typeof setMetrics];
      const values = yield* withMaterial(() => compute(material));
      if (values.every((x): x is number => x !== null && Number.isFinite(x))) {
        result.metrics[name] = summarize(values);
      }
      continue;
    }
    const metric: Metric = evaluationMetrics[name as keyof typeof evaluationMetrics];
    const values = yield* withMaterial(() => metric.compute(material));
    result.metrics[name] = summary(values, name);
    // A metric of some of the prompts has no place among values that are paired by prompt.
    if (values[0]!.length === examples.length) {
      result.perPrompt[name] = examples.map((_, i) => summarize(values.map((seed) => seed[i]!)).mean);
    }
  }
  if (drawn)
    result.samples = yield* withMaterial(() =>
      teacher ? withTeacher(material) : [...material.sampled()[0]!],
    );
  return result;
}

function withTeacher(material: Material): Generation[] {
  const scores = material.scored()[0]!;
  return material.sampled()[0]!.map((generation, i) => ({
    ...generation,
    studentLogprobs: scores[i]!.logprobs,
    teacherLogprobs: scores[i]!.teacherLogprobs,
  }));
}

function summary(values: Values, name: string): Summary {
  const bootstrap = { seed: 0, name };
  if (values.length > 1) return overSeeds(values, bootstrap);
  return { ...summarize(values[0]!), interval: bootstrapInterval(values[0]!, bootstrap) };
}
