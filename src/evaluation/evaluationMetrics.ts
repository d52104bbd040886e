import type { Example } from '../data/examples.js';
import { klEstimators } from '../objectives/klEstimators.js';
import type { Trajectory } from '../rollout/trajectory.js';
import type { GoldTokens } from './goldTokens.js';
import { calibration } from './metrics/calibration.js';
import { distinctN, sampleDiversity } from './metrics/distinct.js';
import { exactMatch } from './metrics/exactMatch.js';
import { repetitionRate } from './metrics/repetition.js';
import { rougeL } from './metrics/rougeL.js';

/** Per seed, per prompt; methods that draw nothing have one "seed". */
export type Values = number[][];

/** What a metric may look at; each part is made at most once, and only if a metric asks for it. */
export interface Material {
  examples: readonly Example[];
  /** [seed][prompt] samples of the model at temperature 1. */
  sampled(): Trajectory[][];
  greedy(): Trajectory[];
  /** [seed][prompt] samples of the teacher, scored by the model. */
  teacherSampled(): Trajectory[][];
  gold(): GoldTokens[];
  text(trajectory: Trajectory): string;
}

export interface Metric {
  describe: string;
  needsTeacher?: true;
  compute(material: Material): Values;
}

const overResponses =
  (f: (t: Trajectory, text: string, example: Example) => number) =>
  (m: Material): Values =>
    m.sampled().map((seed) => seed.map((t, i) => f(t, m.text(t), m.examples[i]!)));

/** KL estimates summed over a response; with the teacher as scorer of the model's own samples. */
const reverseKl = (perToken: (r: number) => number) =>
  overResponses((t) => sum(t.teacherLogprobs!.map((p, i) => perToken(p - t.studentLogprobs[i]!))));

/** Every metric by name (definitions: docs/evaluation.md). */
export const evaluationMetrics = {
  rouge_l_sampled: {
    describe: 'Rouge-L F1 ×100 of samples at temperature 1, best reference',
    compute: overResponses((_, text, example) => rougeL(text, example.outputs)),
  },
  rouge_l_greedy: {
    describe: 'Rouge-L F1 ×100 of the greedy response',
    compute: (m) => [m.greedy().map((t, i) => rougeL(m.text(t), m.examples[i]!.outputs))],
  },
  exact_match: {
    describe: 'share of greedy responses equal to a reference, ×100',
    compute: (m) => [m.greedy().map((t, i) => exactMatch(m.text(t), m.examples[i]!.outputs))],
  },
  reverse_kl_seq: {
    describe: 'KL(q‖p) per response on the model’s samples, Rao-Blackwellised over the vocabulary, nats',
    needsTeacher: true,
    compute: overResponses((t) => sum(t.kl!)),
  },
  reverse_kl_token: {
    describe: 'the same per token',
    needsTeacher: true,
    compute: (m) =>
      m.sampled().map((seed) =>
        ratioValues(
          seed.map((t) => sum(t.kl!)),
          lengths(seed),
        ),
      ),
  },
  reverse_kl_k1: {
    describe: 'per response, −r',
    needsTeacher: true,
    compute: reverseKl(klEstimators.k1.token),
  },
  reverse_kl_k2: {
    describe: 'per response, r²/2',
    needsTeacher: true,
    compute: reverseKl(klEstimators.k2.token),
  },
  reverse_kl_k3: {
    describe: 'per response, e^r − 1 − r',
    needsTeacher: true,
    compute: reverseKl(klEstimators.k3.token),
  },
  forward_kl_seq: {
    describe: 'KL(p‖q) per response on the teacher’s samples, Rao-Blackwellised, nats',
    needsTeacher: true,
    compute: (m) => m.teacherSampled().map((seed) => seed.map((t) => sum(t.kl!))),
  },
  forward_kl_token: {
    describe: 'the same per token',
    needsTeacher: true,
    compute: (m) =>
      m.teacherSampled().map((seed) =>
        ratioValues(
          seed.map((t) => sum(t.kl!)),
          lengths(seed),
        ),
      ),
  },
  lm_loss: {
    describe: 'cross-entropy of the gold responses, nats per token',
    compute: (m) => [
      ratioValues(
        m.gold().map((g) => -sum(g.logprobs)),
        m.gold().map((g) => g.logprobs.length),
      ),
    ],
  },
  sample_diversity: {
    describe: '1 − mean Rouge-L among samples of one prompt (needs two seeds or more)',
    compute: (m) => {
      const seeds = m.sampled();
      if (seeds.length < 2) return [];
      return [sampleDiversity(m.examples.map((_, i) => seeds.map((seed) => m.text(seed[i]!))))];
    },
  },
  length: {
    describe: 'tokens in a sampled response, EOS included',
    compute: overResponses((t) => t.responseIds.length),
  },
  ended: {
    describe: 'share of samples that end by themselves',
    compute: overResponses((t) => Number(t.finished)),
  },
  empty: {
    describe: 'share of samples without text',
    compute: overResponses((_, text) => Number(text.trim() === '')),
  },
  repetition: {
    describe: 'share of repeated 4-grams in a sample',
    compute: overResponses((t) => repetitionRate(t.responseIds)),
  },
} satisfies Record<string, Metric>;

/** Metrics of a whole set of responses: one number per seed, no number per prompt. */
export const setMetrics = {
  distinct_1: setDistinct(1),
  distinct_2: setDistinct(2),
  distinct_3: setDistinct(3),
  distinct_4: setDistinct(4),
  ece: {
    describe: 'expected calibration error of the token on gold responses, 10 bins',
    compute: (m: Material): number[] => [
      calibration(
        m.gold().flatMap((g) => Array.from(g.confidence)),
        m.gold().flatMap((g) => Array.from(g.correct)),
      ).ece,
    ],
  },
} satisfies Record<string, { describe: string; compute(m: Material): number[] }>;

export type MetricName = keyof typeof evaluationMetrics | keyof typeof setMetrics;
export const metricNames = [...Object.keys(evaluationMetrics), ...Object.keys(setMetrics)] as MetricName[];

/** Whether a metric compares with a teacher. */
export function needsTeacher(name: MetricName): boolean {
  const metrics: Partial<Record<MetricName, Metric>> = evaluationMetrics;
  return metrics[name]?.needsTeacher ?? false;
}

function setDistinct(n: number) {
  return {
    describe: `different ${n}-grams / all ${n}-grams over the samples of a seed`,
    compute: (m: Material): number[] =>
      m.sampled().map((seed) =>
        distinctN(
          seed.map((t) => t.responseIds),
          n,
        ),
      ),
  };
}

/**
 * Σ numerators / Σ denominators as a mean over prompts: value_i = R + (a_i − R·b_i)/mean(b), the linearised ratio.
 * Their mean is R and their spread gives its standard error (delta method).
 */
function ratioValues(numerators: readonly number[], denominators: readonly number[]): number[] {
  const ratio = sum(numerators) / sum(denominators);
  const meanDenominator = sum(denominators) / denominators.length;
  return numerators.map((a, i) => ratio + (a - ratio * denominators[i]!) / meanDenominator);
}

function lengths(trajectories: readonly Trajectory[]): number[] {
  return trajectories.map((t) => t.responseIds.length);
}

export function sum(values: ArrayLike<number>): number {
  let total = 0;
  for (let i = 0; i < values.length; i++) total += values[i]!;
  return total;
}
