import { z } from 'zod';
import { brief, UsageError } from '../errors.js';
import { aggregationNames } from './aggregate.js';
import { baselineNames, baselines } from './baselines.js';
import { importanceNames } from './importance.js';
import { lengthNormNames } from './lengthNorm.js';
import { returnForms, returnNames } from './returns.js';
import { ratioNames } from './surrogate.js';

export const whitenModes = ['off', 'padded', 'masked'] as const;

const finite = z.number();

/**
 * Every switch of the MiniLLM objective, each on its own (names as `--set` and `inspect` take them). `length_norm`
 * also takes true (= remaining) and false (= off).
 */
export const objectiveSchema = z.strictObject({
  alpha: finite
    .min(0)
    .max(1)
    .describe('share of the teacher in the sampling mixture p̃ = αp + (1−α)q; 0 = student alone'),
  gamma: finite.min(0).max(1).describe('discount of future rewards'),
  reward_scaling: finite.min(0).describe('rewards are divided by this; 0 or 1 = off'),
  cliprange_reward: finite.min(0).describe('rewards are cut to ± this after scaling; 0 = off'),
  cliprange: z
    .union(
      [
        finite.min(0),
        z
          .strictObject({ low: finite.min(0), high: finite.min(0) })
          .refine(({ low, high }) => low + high > 0, 'low and high are 0; cliprange: 0 is off'),
      ],
      { error: 'expected a number from 0, or { low, high }' },
    )
    .describe('ε of the clipped surrogate, or its two sides { low, high }; 0 = off'),
  ratio: z.enum(ratioNames).describe('q_new/q_old of the surrogate: of the token, or of its response (GSPO)'),
  whiten: z
    .enum(whitenModes)
    .describe('standardise advantages: off, over all slots (padded) or over tokens (masked)'),
  entropy_coef: finite
    .min(0)
    .describe('c of the entropy bonus: the loss gets −c · entropy of the student at every state; 0 = off'),
  single_step: z.boolean().describe('add KL(q‖p) at every state, differentiated over the whole vocabulary'),
  w_on_pg: z
    .boolean()
    .describe('importance weight on the policy-gradient term (enters the ratio before the clip)'),
  w_on_reg: z.boolean().describe('importance weight on the single-step term'),
  include_r_t: z
    .boolean()
    .describe('return R_t with the reward of the token itself (true) or R_{t+1} (false)'),
  length_norm: z
    .preprocess((v) => (v === true ? 'remaining' : v === false ? 'off' : v), z.enum(lengthNormNames))
    .describe('divide returns by the remaining tokens, or train E[Σ r_t/T] (total), or off'),
  kl_coef: finite
    .min(0)
    .describe('β: weight of the reverse KL beside the rewards of a task (docs/rewards.md)'),
  temperature: finite.positive().describe('of sampling, and of the student log-probabilities, ratio and KL'),
  kd_ratio: finite
    .min(0)
    .max(1)
    .describe('share of the soft cross-entropy to the teacher in the pretraining loss'),
  lm_coef: finite.min(0).describe('weight of the pretraining loss; 0 = off'),
  gold_coef: finite
    .min(0)
    .describe('weight of the cross-entropy on the gold responses to the same prompts, token mean; 0 = off'),
  max_response: finite
    .int()
    .min(0)
    .describe('slots R of padded whitening and fixed-length; 0 = the longest response of the batch'),
  returns: z
    .enum(returnNames)
    .describe(
      'what stands for future rewards: the sampled ones, their expectations −KL_k, GAE over either, or none of them',
    ),
  gae_lambda: finite
    .min(0)
    .max(1)
    .describe('λ of the gae returns: 1 = no value is looked at, 0 = one step and then the value'),
  baseline: z.enum(baselineNames).describe('what is taken from the return'),
  ema_decay: finite.min(0).max(1).describe('d of baseline ema: share of the past at each optimizer batch'),
  aggregation: z
    .enum(aggregationNames)
    .describe('how the losses of tokens become that of the batch; fixed-length divides by max_response'),
  importance: z
    .enum(importanceNames)
    .describe('correction for sampling from p̃: none, per token, running product, or that product cut at c'),
  truncation: finite.min(1).describe('c of importance truncated: no product of weights exceeds it'),
});

/** All switches resolved: what every function of this folder takes. */
export type ObjectiveConfig = z.output<typeof objectiveSchema>;

/** Any subset of the switches, as a config file or `--set` gives them. */
export const objectiveOverrides = objectiveSchema.partial();
export type ObjectiveOverrides = { [K in keyof ObjectiveConfig]?: ObjectiveConfig[K] | undefined };

/** LMOps `minillm/` as its scripts run it (github.com/microsoft/LMOps, commit 4f2a9deb). */
const lmops: ObjectiveConfig = {
  alpha: 0.2,
  gamma: 0.95,
  reward_scaling: 0.5,
  cliprange_reward: 100,
  cliprange: 0.2,
  ratio: 'token',
  entropy_coef: 0,
  whiten: 'padded',
  single_step: true,
  w_on_pg: true,
  w_on_reg: false,
  include_r_t: true,
  length_norm: 'remaining',
  kl_coef: 1,
  temperature: 1,
  kd_ratio: 0.5,
  lm_coef: 1,
  gold_coef: 0,
  max_response: 0,
  returns: 'sampled',
  gae_lambda: 0.95,
  baseline: 'none',
  ema_decay: 0.9,
  importance: 'token',
  truncation: 1,
  aggregation: 'token-mean',
};

/** MiniLLM as the paper writes it (arXiv 2306.08543, eq. 3 to 7 and Algorithm 1). */
const paper: ObjectiveConfig = {
  ...lmops,
  gamma: 1,
  reward_scaling: 1,
  cliprange_reward: 0,
  whiten: 'off',
  w_on_reg: true,
  include_r_t: false,
  kd_ratio: 0,
};

/**
 * The project's default: the paper's split with Rao-Blackwellised returns and a position baseline, on the student's own samples and with
 * no text beside it. Chosen by measurement: docs/what-pays.md.
 */
const minillm: ObjectiveConfig = {
  ...paper,
  alpha: 0,
  w_on_reg: false,
  lm_coef: 0,
  kd_ratio: 0.5,
  returns: 'rao-blackwell',
  baseline: 'position',
};

/** What `opd` changes in the paper's switches: the reward of the token itself is all there is, nothing is corrected or cut. */
export const opdObjective: Partial<ObjectiveConfig> = {
  alpha: 0,
  gamma: 0,
  cliprange: 0,
  single_step: false,
  w_on_pg: false,
  w_on_reg: false,
  include_r_t: true,
  length_norm: 'off',
  lm_coef: 0,
};

export const presets = { minillm, lmops, paper } satisfies Record<string, ObjectiveConfig>;
export type PresetName = keyof typeof presets;
export const presetNames = Object.keys(presets) as [PresetName, ...PresetName[]];

/**
 * A preset with some switches changed, checked.
 *
 * @param overrides from a config file or `--set`: anything
 * @throws UsageError naming the first switch that is unknown, out of range, or at odds with another
 */
export function resolveObjective(preset: string, overrides: unknown = {}): ObjectiveConfig {
  if (!Object.hasOwn(presets, preset)) {
    throw new UsageError(
      `objective.preset: ${brief(preset)} found, expected one of ${presetNames.join(', ')}`,
    );
  }
  const parsed = objectiveOverrides.safeParse(overrides);
  if (!parsed.success) {
    const issue = parsed.error.issues[0]!;
    throw new UsageError(`${['objective', ...issue.path].join('.')}: ${issue.message}`);
  }
  const given = Object.entries(parsed.data).filter(([, value]) => value !== undefined);
  const config: ObjectiveConfig = { ...presets[preset as PresetName], ...Object.fromEntries(given) };
  const conflict = conflictOf(config);
  if (conflict) throw new UsageError(`objective.${conflict}`);
  return config;
}

/** Combinations that have no meaning. A biased combination is allowed; the oracle says how biased it is. */
function conflictOf(c: ObjectiveConfig): string | undefined {
  const whitening = c.baseline === 'whiten' || c.baseline === 'whiten-padded';
  if (whitening && c.whiten !== 'off') {
    return `whiten: ${c.whiten} with baseline ${c.baseline} would standardise twice; set one of the two to off or none`;
  }
  if (baselines[c.baseline].ofActions && c.whiten !== 'off') {
    return `whiten: ${c.whiten} with baseline ${c.baseline}, whose Q(s,a) has the scale of the returns; set whiten off`;
  }
  if (c.length_norm !== 'total') return undefined;
  if (returnForms[c.returns].needsValues)
    return `returns: ${c.returns} with length_norm total, which has no form for it; choose length_norm remaining or off`;
  const mend = 'or choose length_norm remaining';
  if (c.aggregation === 'seq-mean-token-mean' || c.aggregation === 'fixed-length') {
    return `aggregation: ${c.aggregation} with length_norm total, whose terms are divided by their length already; leave it out ${mend}`;
  }
  if (c.gamma !== 1)
    return `gamma: ${c.gamma} with length_norm total, which has no discount; set gamma 1 ${mend}`;
  if (c.reward_scaling > 0 && c.reward_scaling !== 1) {
    return `reward_scaling: ${c.reward_scaling} with length_norm total, which needs unscaled rewards; set 1 ${mend}`;
  }
  if (c.cliprange_reward > 0) {
    return `cliprange_reward: ${c.cliprange_reward} with length_norm total, which needs unclipped rewards; set 0 ${mend}`;
  }
  return undefined;
}
