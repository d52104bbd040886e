import { needsValues } from '../objectives/advantages.js';
import type { BaselineName } from '../objectives/baselines.js';
import type { ImportanceName } from '../objectives/importance.js';
import type { LengthNormName } from '../objectives/lengthNorm.js';
import { presets } from '../objectives/presets.js';
import type { ReturnName } from '../objectives/returns.js';
import type { SamplingSchemeName } from '../rollout/uniforms.js';
import { claimsUnbiased } from './claims.js';
import { type CostModel, costOfSample } from './cost.js';
import { enumerate } from './enumeration.js';
import { type Judge, judgeOf, type Moments } from './estimator.js';
import { type CriticName, lengthNormalisedKlExact, objectiveExact, reverseKlExact } from './exact.js';
import { floorVariance } from './floor.js';
import { type Combination, type GridParameters, gridOf, namedForms, normalisedGrid } from './grid.js';
import { dot, type ParameterSpace } from './space.js';
import type { World } from './world.js';

/** One estimator judged against an exact gradient. */
export interface EstimatorRow {
  returns: ReturnName;
  baseline: BaselineName;
  importance: ImportanceName;
  sampling: SamplingSchemeName;
  alpha: number;
  /** true: ∇KL_t exactly and R_{t+1}; false: the sampled R_t alone. */
  single_step: boolean;
  include_r_t: boolean;
  w_on_reg: boolean;
  length_norm: LengthNormName;
  /** K, samples per prompt. */
  samples: number;
  /** Whose V(s) baseline and returns read. */
  values: CriticName | 'none';
  /** Whether the pieces claim that this combination is unbiased; a large batch is meant for batch statistics. */
  claims_unbiased: boolean;
  /** |E g − ∇| / |∇|; |E g| where the exact gradient is 0. */
  relative_bias: number;
  cosine: number;
  /** Trace of the covariance of one sample's gradient; for K samples per prompt K × the variance of their mean. */
  variance: number;
  /** Of one sample, in tokens read by the student (cost.ts). */
  cost: number;
  /** variance · cost: what is left of the variance when one unit of computation is spent, on average. */
  variance_per_compute: number;
}

export interface GradientEntry {
  /** Which prompt, where there are several. */
  prompt?: number;
  prefix: number[];
  values: number[];
}

export interface OracleResult {
  /** Sequence-level reverse KL, nats, mean over the prompts. */
  kl: number;
  /** With a task: E[Σ_t ρ_t], and β; what is minimised is β · kl − reward. */
  task?: { reward: number; kl_coef: number };
  /** Of what is minimised, in the student's logits. */
  gradient: GradientEntry[];
  sequences: number;
  /** Variance of one sample with the exact value of every action at the states it visits (floor.ts). */
  floor_variance: number;
  estimators: EstimatorRow[];
  /** Combinations whose joint law of K samples is too large to enumerate. */
  left_out: number;
  /** Named forms outside the grid, biased by design, against the same gradient. */
  forms: (EstimatorRow & { name: string })[];
  /**
   * The objective E[Σ_t r_t / T] of `length_norm: total`, sign reversed, with its own gradient and estimators. With a task `kl` is
   * β times it, less E[Σ_t ρ_t].
   */
  length_normalised: { kl: number; gradient: GradientEntry[]; estimators: EstimatorRow[] };
}

export interface OracleOptions {
  /** Of every state's logits in the parameters (`enumerate`); default: the parameters are the logits. */
  jacobians?: readonly Float64Array[];
  /** Default: no prompt, and a teacher as dear as the student. */
  cost?: CostModel;
  /** K for the baselines and sampling schemes that take several samples of a prompt. */
  samples?: readonly number[];
  /** Default: those of the presets. */
  parameters?: Partial<GridParameters>;
  onProgress?: (done: number, total: number) => void;
}

/**
 * Judges every estimator of MiniLLM's gradient on one small world, exactly and in float64: for each combination of
 * returns, baseline, importance correction, sampling (scheme, and the student alone or mixed with the world's alpha) and
 * split, the bias of its expectation and the variance of one sample.
 */
export function runOracle(world: World, options: OracleOptions = {}): OracleResult {
  const { samples = [2, 4], cost = { promptTokens: 0, teacher: 1 } } = options;
  const { gae_lambda, truncation } = { ...presets.minillm, ...options.parameters };
  const { klCoef = 1 } = world;
  const parameters = { gae_lambda, truncation, kl_coef: klCoef };
  const enumeration = enumerate(world, options.jacobians);
  const bench: Bench = { judge: judgeOf(enumeration), space: enumeration.space, cost, known: new Map() };
  const exact = objectiveExact(world);
  const kl = reverseKlExact(world).value;
  const task = world.klCoef !== undefined || world.states.some(({ reward }) => reward);
  const normalised = lengthNormalisedKlExact(enumeration);
  const alphas = [...new Set([0, world.alpha])];
  const grid = gridOf(alphas, samples, parameters);
  const perToken = normalisedGrid(alphas, parameters);
  const forms = Object.entries(namedForms(world.alpha, klCoef));
  const total = grid.length + perToken.length + forms.length;
  let done = 0;
  const [plain, perTokenPlain] = [exact, normalised].map(({ gradient }) => bench.space.pull(gradient)) as [
    Float64Array,
    Float64Array,
  ];
  const row = (combination: Combination, against: Float64Array): EstimatorRow[] => {
    const judged = judgeOne(bench, combination, against);
    options.onProgress?.(++done, total);
    return judged ? [judged] : [];
  };
  const estimators = grid.flatMap((combination) => row(combination, plain));
  return {
    kl,
    ...(task && { task: { reward: klCoef * kl - exact.value, kl_coef: klCoef } }),
    gradient: entries(world, exact.gradient),
    sequences: world.sequences,
    floor_variance: floorVariance(enumeration, exact),
    estimators,
    left_out: grid.length - estimators.length,
    forms: forms.flatMap(([name, config]) =>
      row({ config, drawing: { sampling: 'independent', samples: 1, critic: 'exact' } }, plain).map(
        (judged) => ({ name, ...judged }),
      ),
    ),
    length_normalised: {
      kl: normalised.value,
      gradient: entries(world, normalised.gradient),
      estimators: perToken.flatMap((combination) => row(combination, perTokenPlain)),
    },
  };
}

interface Bench {
  judge: Judge;
  space: ParameterSpace;
  cost: CostModel;
  /** Without mixing every importance correction is 1: the same estimator under several names. */
  known: Map<string, Moments | undefined>;
}

function judgeOne(
  bench: Bench,
  { config, drawing }: Combination,
  exact: Float64Array,
): EstimatorRow | undefined {
  const key = JSON.stringify(
    [config, drawing].map((x) => ({ ...x, ...(config.alpha === 0 && { importance: '' }) })),
  );
  if (!bench.known.has(key)) bench.known.set(key, bench.judge.moments(config, drawing));
  const moments = bench.known.get(key);
  if (!moments) return undefined;
  const values = needsValues(config);
  const length = bench.judge.meanLength(config.alpha);
  const cost = costOfSample(bench.cost, length, drawing.samples, values);
  return {
    returns: config.returns,
    baseline: config.baseline,
    importance: config.importance,
    sampling: drawing.sampling,
    alpha: config.alpha,
    single_step: config.single_step,
    include_r_t: config.include_r_t,
    w_on_reg: config.w_on_reg,
    length_norm: config.length_norm,
    samples: drawing.samples,
    values: values ? drawing.critic : 'none',
    claims_unbiased: claimsUnbiased(config, drawing),
    ...compare(moments.expectation, exact),
    variance: moments.variance,
    cost,
    variance_per_compute: moments.variance * cost,
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

function entries(world: World, gradient: Float64Array): GradientEntry[] {
  return world.states.map(({ prompt, prefix }, s) => ({
    ...(world.roots.length > 1 && { prompt }),
    prefix,
    values: [...gradient.subarray(s * world.vocab, (s + 1) * world.vocab)],
  }));
}
