import { needsValues } from '../objectives/advantages.js';
import { baselineNames, baselines } from '../objectives/baselines.js';
import { importanceNames } from '../objectives/importance.js';
import { type ObjectiveConfig, presetNames, presets } from '../objectives/presets.js';
import { futureNames, returnForms } from '../objectives/returns.js';
import { type SamplingSchemeName, samplingSchemeNames, samplingSchemes } from '../rollout/uniforms.js';
import type { Drawing } from './estimator.js';
import { type CriticName, critics } from './exact.js';

/** One estimator: what is differentiated, and how its samples are drawn. */
export interface Combination {
  config: ObjectiveConfig;
  drawing: Drawing;
}

/** Everything off that is not an axis of the grid: the estimator of the plain sequence KL. */
const plain: ObjectiveConfig = {
  ...presets.paper,
  cliprange: 0,
  length_norm: 'off',
  importance: 'none',
  alpha: 0,
};

/** `kl_coef` is the world's: it is a part of the objective that the estimators are judged by. */
export type GridParameters = Pick<ObjectiveConfig, 'gae_lambda' | 'truncation'> &
  Partial<Pick<ObjectiveConfig, 'kl_coef'>>;

/**
 * Every combination of sampling mixture, importance correction, split, returns, critic (where one is read), baseline and
 * sampling scheme. K matters to baselines of K samples and to schemes that couple them; elsewhere it is 1.
 */
export function gridOf(
  alphas: readonly number[],
  counts: readonly number[],
  parameters: GridParameters,
): Combination[] {
  const configs = alphas.flatMap((alpha) =>
    importanceNames.flatMap((importance) =>
      [true, false].flatMap((single_step) =>
        futureNames.flatMap((returns) =>
          baselineNames.map(
            (baseline): ObjectiveConfig => ({
              ...plain,
              ...parameters,
              alpha,
              importance,
              single_step,
              include_r_t: !single_step,
              returns,
              baseline,
            }),
          ),
        ),
      ),
    ),
  );
  return configs.flatMap((config) =>
    criticsOf(config).flatMap((critic) =>
      samplingSchemeNames.flatMap((sampling) =>
        countsOf(config, sampling, counts).map((samples) => ({
          config,
          drawing: { sampling, samples, critic },
        })),
      ),
    ),
  );
}

/** Estimators of E[Σ_t r_t / T]: the objective has returns without a critic, and baselines that need no tuning to it. */
export function normalisedGrid(alphas: readonly number[], parameters: GridParameters): Combination[] {
  return gridOf(alphas, [], parameters)
    .filter(
      ({ config, drawing }) =>
        (config.baseline === 'none' || config.baseline === 'position') &&
        !returnForms[config.returns].needsValues &&
        drawing.samples === 1,
    )
    .map(({ config, drawing }) => ({ config: { ...config, length_norm: 'total' }, drawing }));
}

/** Forms that the grid leaves out. Presets: batch statistics of a large batch, clip as at the first inner update. */
export function namedForms(alpha: number, kl_coef = 1): Record<string, ObjectiveConfig> {
  const forms: Record<string, ObjectiveConfig> = {
    'r_t counted twice (single step with R_t)': { ...plain, include_r_t: true },
    'no r_t at all (R_{t+1} without single step)': { ...plain, single_step: false },
    'single step alone (nothing of the future)': { ...plain, returns: 'none' },
    'remaining, sampled': { ...plain, length_norm: 'remaining' },
    'remaining, rao-blackwell': { ...plain, length_norm: 'remaining', returns: 'rao-blackwell' },
    'ratio of the response (GSPO)': { ...plain, ratio: 'sequence' },
    'token weight, not on the single step': { ...plain, alpha, importance: 'token', w_on_reg: false },
    ...Object.fromEntries(presetNames.map((name) => [`preset ${name}`, { ...presets[name], alpha }])),
  };
  return Object.fromEntries(Object.entries(forms).map(([name, form]) => [name, { ...form, kl_coef }]));
}

/** The critics whose values an estimator would read; one of them, unread, where it reads none. */
function criticsOf(config: ObjectiveConfig): CriticName[] {
  return needsValues(config) ? (Object.keys(critics) as CriticName[]) : ['exact'];
}

function countsOf(
  { baseline }: ObjectiveConfig,
  sampling: SamplingSchemeName,
  counts: readonly number[],
): readonly number[] {
  const { group } = samplingSchemes[sampling];
  const { ofSamples } = baselines[baseline];
  if (group === 1) return ofSamples ? counts : [1];
  return counts.filter((samples) => group === 0 || samples % group === 0);
}
