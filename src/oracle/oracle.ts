import { type BaselineName, baselines } from '../objectives/baselines.js';
import { type ImportanceName, importances } from '../objectives/importance.js';
import { type LengthNormName, lengthNorms } from '../objectives/lengthNorm.js';
import { type ObjectiveConfig, presetNames, presets } from '../objectives/presets.js';
import { type ReturnName, returnForms } from '../objectives/returns.js';
import { dot } from './blocks.js';
import { type Enumeration, enumerate } from './enumeration.js';
import { estimatorMoments } from './estimator.js';
import { type Exact, lengthNormalisedKlExact, reverseKlExact } from './exact.js';
import type { World } from './world.js';

/** One estimator judged against an exact gradient. */
export interface EstimatorRow {
  returns: ReturnName;
  baseline: BaselineName;
  importance: ImportanceName;
  sampling: 'independent';
  alpha: number;
  /** true: ∇KL_t exactly and R_{t+1}; false: the sampled R_t alone. */
  single_step: boolean;
  include_r_t: boolean;
  w_on_reg: boolean;
  length_norm: LengthNormName;
  /** K, samples per prompt. */
  samples: number;
  /** Whether the pieces claim that this combination is unbiased; a large batch is meant for batch statistics. */
  claims_unbiased: boolean;
  /** |E g − ∇| / |∇|; |E g| where the exact gradient is 0. */
  relative_bias: number;
  cosine: number;
  /** Trace of the covariance of one sample's gradient; for K samples per prompt K × the variance of their mean. */
  variance: number;
}

export interface GradientEntry {
  prefix: number[];
  values: number[];
}

export interface OracleResult {
  /** Sequence-level reverse KL, nats. */
  kl: number;
  gradient: GradientEntry[];
  sequences: number;
  estimators: EstimatorRow[];
  /** Named forms outside the grid, biased by design, against the same gradient. */
  forms: (EstimatorRow & { name: string })[];
  /** The objective E[Σ_t r_t / T] of `length_norm: total`, sign reversed, with its own gradient and estimators. */
  length_normalised: { kl: number; gradient: GradientEntry[]; estimators: EstimatorRow[] };
}

const judged = ['none', 'batch', 'position', 'leave-one-out', 'whiten', 'whiten-padded'] as const;

/** Everything off that is not an axis of the grid: the estimator of the plain sequence KL. */
const plain: ObjectiveConfig = {
  ...presets.paper,
  cliprange: 0,
  length_norm: 'off',
  importance: 'none',
  alpha: 0,
};

/**
 * Judges every estimator of MiniLLM's gradient on one tabular world, exactly and in float64: for each combination of
 * returns, baseline, importance correction, sampling (student alone, and mixed with the world's alpha) and split, the
 * bias of its expectation over all sequences and the variance of one sample. `leave-one-out` for K = 2 and 4.
 */
export function runOracle(world: World): OracleResult {
  const exact = reverseKlExact(world);
  const enumeration = enumerate(world);
  const normalised = lengthNormalisedKlExact(enumeration);
  const alphas = [...new Set([0, world.alpha])];
  const estimators: EstimatorRow[] = [];
  const total: EstimatorRow[] = [];
  for (const alpha of alphas) {
    for (const importance of ['none', 'token', 'prefix'] as const) {
      for (const single_step of [true, false]) {
        for (const returns of ['sampled', 'rao-blackwell'] as const) {
          for (const baseline of judged) {
            const config = {
              ...plain,
              alpha,
              importance,
              single_step,
              include_r_t: !single_step,
              returns,
              baseline,
            };
            for (const samples of baseline === 'leave-one-out' ? [2, 4] : [1]) {
              estimators.push(judge(enumeration, exact, config, samples));
            }
            if (baseline === 'none' || baseline === 'position') {
              total.push(judge(enumeration, normalised, { ...config, length_norm: 'total' }, 1));
            }
          }
        }
      }
    }
  }
  return {
    kl: exact.value,
    gradient: entries(world, exact.gradient),
    sequences: world.sequences,
    estimators,
    forms: Object.entries(namedForms(world.alpha)).map(([name, config]) => ({
      name,
      ...judge(enumeration, exact, config, 1),
    })),
    length_normalised: {
      kl: normalised.value,
      gradient: entries(world, normalised.gradient),
      estimators: total,
    },
  };
}

/** Forms that the grid leaves out. Presets: batch statistics of a large batch, clip as at the first inner update. */
function namedForms(alpha: number): Record<string, ObjectiveConfig> {
  return {
    'r_t counted twice (single step with R_t)': { ...plain, include_r_t: true },
    'no r_t at all (R_{t+1} without single step)': { ...plain, single_step: false },
    'remaining, sampled': { ...plain, length_norm: 'remaining' },
    'remaining, rao-blackwell': { ...plain, length_norm: 'remaining', returns: 'rao-blackwell' },
    'token weight, not on the single step': { ...plain, alpha, importance: 'token', w_on_reg: false },
    ...Object.fromEntries(presetNames.map((name) => [`preset ${name}`, { ...presets[name], alpha }])),
  };
}

function judge(
  enumeration: Enumeration,
  exact: Exact,
  config: ObjectiveConfig,
  samples: number,
): EstimatorRow {
  const { expectation, variance } = estimatorMoments(enumeration, config, samples);
  return {
    returns: config.returns,
    baseline: config.baseline,
    importance: config.importance,
    sampling: 'independent',
    alpha: config.alpha,
    single_step: config.single_step,
    include_r_t: config.include_r_t,
    w_on_reg: config.w_on_reg,
    length_norm: config.length_norm,
    samples,
    claims_unbiased: claimsUnbiased(config),
    ...compare(expectation, exact.gradient),
    variance,
  };
}

/** Bias of an expectation against the exact gradient. */
export function compare(
  expectation: Float64Array,
  exact: Float64Array,
): { relative_bias: number; cosine: number } {
  // Student and teacher equal: nothing to be relative to, and round-off has no direction.
  const nothing = 1e-12;
  const norm = Math.sqrt(dot(exact, exact));
  const own = Math.sqrt(dot(expectation, expectation));
  const bias = Math.sqrt(expectation.reduce((sum, g, i) => sum + (g - exact[i]!) ** 2, 0));
  if (norm < nothing) return { relative_bias: own, cosine: own < nothing ? 1 : 0 };
  return { relative_bias: bias / norm, cosine: own < nothing ? 0 : dot(expectation, exact) / (own * norm) };
}

/** From the claims of the pieces: every piece unbiased, r_t counted once, w where it is needed, nothing cut. */
export function claimsUnbiased(c: ObjectiveConfig): boolean {
  const pieces = [returnForms[c.returns], baselines[c.baseline], lengthNorms[c.length_norm]];
  const corrected =
    c.alpha === 0 || (importances[c.importance].unbiased && c.w_on_pg && (c.w_on_reg || !c.single_step));
  const untouched = c.gamma === 1 && c.whiten === 'off' && c.cliprange === 0 && c.cliprange_reward === 0;
  const unscaled = c.reward_scaling === 0 || c.reward_scaling === 1;
  return (
    pieces.every((piece) => piece.unbiased) &&
    c.include_r_t !== c.single_step &&
    corrected &&
    untouched &&
    unscaled
  );
}

function entries(world: World, gradient: Float64Array): GradientEntry[] {
  return world.states.map(({ prefix }, s) => ({
    prefix,
    values: [...gradient.subarray(s * world.vocab, (s + 1) * world.vocab)],
  }));
}
