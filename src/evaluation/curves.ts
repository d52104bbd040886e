import type { Material } from './material.js';
import { type Calibration, type CalibrationBin, calibration } from './metrics/calibration.js';
import { type Distribution, distribution, evenEdges } from './metrics/distribution.js';
import { type ExposureBias, exposureBias } from './metrics/exposureBias.js';
import { summarize } from './metrics/statistics.js';

/** What of an evaluation is a curve and not a number: written to evaluation.json and drawn by the report. */
export interface Curves {
  exposure_bias?: ExposureCurve;
  /** Reliability of the token on gold responses, and of the answer on rows with choices. */
  calibration?: CalibrationBin[];
  answer_calibration?: CalibrationBin[];
  /** Tokens of a sample. */
  length?: Distribution;
  /** r = ln p − ln q of the tokens of the samples, nats; what lies beyond the ends is in the outermost bins. */
  reward?: Distribution;
}

/** ExAccErr over length, entry l−1 for the first l tokens: means over seeds, and the standard error over them. */
export interface ExposureCurve {
  student_error: number[];
  teacher_error: number[];
  excess_percent: (number | null)[];
  excess_stderr: (number | null)[];
  /** Share of the teacher's samples that are at least l tokens long. */
  reached: number[];
  /** The l that the metric `ex_acc_err` is at. */
  at: number;
}

/** ExAccErr of every seed: the forward KL at each state of the model's samples and of the teacher's. */
function perSeed(m: Material): { seeds: ExposureBias[]; lengths: number[]; at: number } {
  const own = m.scored();
  const teacher = m.teacherScored();
  const seeds = own.map((scores, s) =>
    exposureBias(
      scores.map(({ forwardKl }) => forwardKl),
      teacher[s]!.map(({ forwardKl }) => forwardKl),
    ),
  );
  const lengths = m
    .teacherSampled()
    .flatMap((seed) => seed.map((g) => g.responseIds.length))
    .sort((a, b) => a - b);
  // Beyond it fewer than half of the teacher's samples are left; the same for all students of a teacher.
  const median = lengths[Math.floor((lengths.length - 1) / 2)]!;
  return { seeds, lengths, at: Math.min(median, ...seeds.map(({ excessPercent }) => excessPercent.length)) };
}

/** ExAccErr in percent, one number a seed, at the median length of the teacher's samples; null for the teacher itself. */
export function excessAtMedian(m: Material): (number | null)[] {
  const { seeds, at } = perSeed(m);
  return seeds.map(({ excessPercent }) => excessPercent[at - 1]!);
}

function exposureCurve(m: Material): ExposureCurve {
  const { seeds, lengths, at } = perSeed(m);
  const length = Math.min(...seeds.map(({ excessPercent }) => excessPercent.length));
  const over = (read: (seed: ExposureBias, l: number) => number | null) =>
    Array.from({ length }, (_, l) => {
      const values = seeds.map((seed) => read(seed, l));
      return values.every((x) => x !== null) ? summarize(values) : undefined;
    });
  const excess = over(({ excessPercent }, l) => excessPercent[l]!);
  return {
    student_error: over(({ studentError }, l) => studentError[l]!).map((x) => x!.mean),
    teacher_error: over(({ teacherError }, l) => teacherError[l]!).map((x) => x!.mean),
    excess_percent: excess.map((x) => x?.mean ?? null),
    excess_stderr: excess.map((x) => x?.stderr ?? null),
    reached: Array.from({ length }, (_, l) => lengths.filter((n) => n > l).length / lengths.length),
    at,
  };
}

/** Of the tokens of the gold responses: confidence is max_v q(v), right where the gold token is the argmax. */
export function tokenCalibration(m: Material): Calibration {
  return calibration(
    m.gold().flatMap(({ confidence }) => Array.from(confidence)),
    m.gold().flatMap(({ correct }) => Array.from(correct)),
  );
}

/** Of the answers of rows with choices: confidence is the probability of the likeliest one. */
export function answerCalibration(m: Material): Calibration {
  return calibration(
    m.choices().map(({ confidence }) => confidence),
    m.choices().map(({ correct }) => correct),
  );
}

const rewardEdges = evenEdges(-6, 0.25, 32);

/** The curves that belong to metrics, by the metric that asks for them; nothing is decoded or scored for them alone. */
export const curves = {
  ex_acc_err: (m) => ({ exposure_bias: exposureCurve(m) }),
  ece: (m) => ({ calibration: tokenCalibration(m).bins }),
  answer_ece: (m) => ({ answer_calibration: answerCalibration(m).bins }),
  length: (m) => {
    const lengths = m.sampled().flatMap((seed) => seed.map((g) => g.responseIds.length));
    const longest = lengths.reduce((most, n) => Math.max(most, n), 1);
    const width = Math.ceil(longest / 40);
    return { length: distribution(lengths, evenEdges(1, width, Math.ceil(longest / width))) };
  },
  reverse_kl_seq: (m) => ({
    reward: distribution(
      m
        .scored()
        .flat()
        .flatMap(({ teacherLogprobs, logprobs }) => Array.from(logprobs, (q, t) => teacherLogprobs[t]! - q)),
      rewardEdges,
    ),
  }),
} satisfies Record<string, (m: Material) => Curves>;
