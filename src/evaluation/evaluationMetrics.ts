import type { Example } from '../data/examples.js';
import { answerCalibration, excessAtMedian, tokenCalibration } from './curves.js';
import type { Generation } from './generations.js';
import { klMetrics, ratioValues } from './klMetrics.js';
import type { Material, Metric, SetMetric, Values } from './material.js';
import { distinctN, sampleDiversity } from './metrics/distinct.js';
import { exactMatch } from './metrics/exactMatch.js';
import { repetitionRate } from './metrics/repetition.js';
import { rougeL } from './metrics/rougeL.js';
import { type Given, obstacle } from './requirements.js';

const overSamples =
  (f: (generation: Generation, text: string, example: Example) => number) =>
  (m: Material): Values =>
    m.sampled().map((seed) => seed.map((g, i) => f(g, m.text(g), m.examples[i]!)));

const overGreedy =
  (f: (text: string, example: Example) => number) =>
  (m: Material): Values => [m.greedy().map((g, i) => f(m.text(g), m.examples[i]!))];

/** Every metric with a value per prompt, by name (definitions: docs/evaluation.md). */
export const evaluationMetrics = {
  rouge_l_sampled: {
    describe: 'Rouge-L F1 ×100 of samples at temperature 1, best reference',
    needs: ['references'],
    compute: overSamples((_, text, example) => rougeL(text, example.outputs)),
  },
  rouge_l_greedy: {
    describe: 'Rouge-L F1 ×100 of the greedy response',
    needs: ['references'],
    compute: overGreedy((text, example) => rougeL(text, example.outputs)),
  },
  exact_match: {
    describe: 'share of greedy responses equal to a reference, ×100',
    needs: ['references'],
    compute: overGreedy((text, example) => exactMatch(text, example.outputs)),
  },
  exact_match_sampled: {
    describe: 'the same of samples at temperature 1',
    needs: ['references'],
    compute: overSamples((_, text, example) => exactMatch(text, example.outputs)),
  },
  ...klMetrics,
  lm_loss: {
    describe: 'cross-entropy of the gold responses, nats per token',
    needs: ['references'],
    compute: (m) => [
      ratioValues(
        m.gold().map((g) => -g.logprobs.reduce((sum, x) => sum + x, 0)),
        m.gold().map((g) => g.logprobs.length),
      ),
    ],
  },
  answer_accuracy: {
    describe: 'share of rows with choices whose likeliest choice is the reference, ×100',
    needs: ['choices'],
    compute: (m) => [m.choices().map(({ correct }) => 100 * correct)],
  },
  sample_diversity: {
    describe: '1 − mean Rouge-L among samples of one prompt',
    needs: ['seeds'],
    compute: (m) => [sampleDiversity(m.examples.map((_, i) => m.sampled().map((seed) => m.text(seed[i]!))))],
  },
  length: {
    describe: 'tokens in a sampled response, EOS included',
    compute: overSamples((g) => g.responseIds.length),
  },
  ended: {
    describe: 'share of samples that end by themselves',
    compute: overSamples((g) => Number(g.finished)),
  },
  empty: {
    describe: 'share of samples without text',
    compute: overSamples((_, text) => Number(text === '')),
  },
  repetition: {
    describe: 'share of repeated 4-grams in a sample',
    compute: overSamples((g) => repetitionRate(g.responseIds)),
  },
} satisfies Record<string, Metric>;

/** Metrics of a whole set of responses. */
export const setMetrics = {
  distinct_1: setDistinct(1),
  distinct_2: setDistinct(2),
  distinct_3: setDistinct(3),
  distinct_4: setDistinct(4),
  ex_acc_err: {
    describe: 'excess accumulated error up to the median length of the teacher’s samples, %',
    needs: ['teacher'],
    compute: (m) => excessAtMedian(m),
  },
  ece: {
    describe: 'expected calibration error of the token on gold responses, 10 bins',
    needs: ['references'],
    compute: (m) => [tokenCalibration(m).ece],
  },
  answer_ece: {
    describe: 'expected calibration error of the answer on rows with choices, 10 bins',
    needs: ['choices'],
    compute: (m) => [answerCalibration(m).ece],
  },
} satisfies Record<string, SetMetric>;

export type MetricName = keyof typeof evaluationMetrics | keyof typeof setMetrics;
export const metricNames = [...Object.keys(evaluationMetrics), ...Object.keys(setMetrics)] as MetricName[];

/** Why a metric cannot be computed from what is given, as the end of a sentence; undefined if it can. */
export function cannotCompute(name: MetricName, given: Given): string | undefined {
  const metrics: Record<MetricName, Metric | SetMetric> = { ...evaluationMetrics, ...setMetrics };
  return obstacle(metrics[name].needs ?? [], given);
}

function setDistinct(n: number): SetMetric {
  return {
    describe: `different ${n}-grams / all ${n}-grams over the samples of a seed`,
    compute: (m) =>
      m.sampled().map((seed) =>
        distinctN(
          seed.map((g) => g.responseIds),
          n,
        ),
      ),
  };
}
