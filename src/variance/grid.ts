import { UsageError } from '../errors.js';
import { baselineNames, baselines } from '../objectives/baselines.js';
import { importanceNames } from '../objectives/importance.js';
import { type ObjectiveConfig, presetNames, presets } from '../objectives/presets.js';
import { futureNames, returnForms } from '../objectives/returns.js';
import { type SamplingSchemeName, samplingSchemeNames, samplingSchemes } from '../rollout/uniforms.js';

/** One way to estimate the gradient. */
export interface Estimator {
  /** `returns/baseline/importance/sampling/alpha`, or `preset/NAME`. */
  name: string;
  objective: ObjectiveConfig;
  sampling: SamplingSchemeName;
}

export interface GridOptions {
  /** What is the same for all estimators but the presets. */
  base: ObjectiveConfig;
  /** K, samples per prompt: some baselines and schemes need two, or an even number. */
  samples: number;
  /** Every combination instead of the default ones. */
  all?: boolean;
  /** Patterns of names, `*` for any part, missing parts at the end are any; instead of the default ones. */
  patterns?: readonly string[];
}

/**
 * The estimators to measure, derived from the records of src/objectives and src/rollout. By default one axis is varied at a
 * time, around the base objective:
 *
 *     all returns × all baselines   without mixing, independent samples
 *     all importance corrections    with the base's returns and baseline, under mixing: the base's alpha, or the paper's where it has none
 *     all sampling schemes          with the base's returns and baseline, without mixing
 *     the presets                   as they are
 *
 * Combinations without meaning are left out: importance weights without mixing, baselines over the samples of a prompt
 * with one sample, a scheme that K does not divide.
 *
 * @throws UsageError for a pattern that names nothing
 */
export function estimators(options: GridOptions): Estimator[] {
  const { base, patterns, all } = options;
  const everything = [...presetEstimators(base), ...grid(options)];
  if (patterns) {
    const chosen = new Set(patterns.flatMap((pattern) => matching(everything, pattern)));
    return everything.filter((estimator) => chosen.has(estimator));
  }
  return all ? everything : everything.filter((estimator) => isDefault(estimator, base));
}

/**
 * What the others are compared with: the exact objective of the base in expectation as far as the base has one. Samples
 * of the student alone, the single-step part as the base has it, Rao-Blackwellised returns without a baseline, no clip.
 */
export function referenceEstimator(base: ObjectiveConfig): Estimator {
  const objective = point(base, { returns: 'rao-blackwell', baseline: 'none', importance: 'none', alpha: 0 });
  return { name: nameOf(objective, 'independent'), objective, sampling: 'independent' };
}

function grid({ base, samples }: GridOptions): Estimator[] {
  return [0, base.alpha || presets.paper.alpha].flatMap((alpha) =>
    samplingSchemeNames
      .filter((sampling) => divides(sampling, samples))
      .flatMap((sampling) =>
        // Without mixing every weight is 1.
        importanceNames
          .filter((importance) => alpha > 0 || importance === 'none')
          .flatMap((importance) =>
            futureNames
              .filter((returns) => base.length_norm !== 'total' || !returnForms[returns].needsValues)
              .flatMap((returns) =>
                baselineNames
                  .filter((baseline) => samples > 1 || !baselines[baseline].ofSamples)
                  .map((baseline): Estimator => {
                    const objective = point(base, { alpha, importance, returns, baseline });
                    return { name: nameOf(objective, sampling), objective, sampling };
                  }),
              ),
          ),
      ),
  );
}

type Axes = Pick<ObjectiveConfig, 'returns' | 'baseline' | 'importance' | 'alpha'>;

/**
 * The base moved to a point of the grid. Running products belong on both terms; the token weight changes no expectation on the
 * single-step term, so there the base decides.
 */
function point(base: ObjectiveConfig, axes: Axes): ObjectiveConfig {
  return {
    ...base,
    ...axes,
    whiten: 'off',
    w_on_pg: true,
    w_on_reg: axes.importance !== 'token' || base.w_on_reg,
  };
}

function nameOf({ returns, baseline, importance, alpha }: Axes, sampling: SamplingSchemeName): string {
  return [returns, baseline, importance, sampling, alpha].join('/');
}

function presetEstimators(base: ObjectiveConfig): Estimator[] {
  return presetNames.map((name) => ({
    name: `preset/${name}`,
    objective: { ...presets[name], max_response: base.max_response },
    sampling: 'independent',
  }));
}

function divides(sampling: SamplingSchemeName, samples: number): boolean {
  const { group } = samplingSchemes[sampling];
  return group === 0 ? samples > 1 : samples % group === 0;
}

function isDefault({ name, objective, sampling }: Estimator, base: ObjectiveConfig): boolean {
  if (name.startsWith('preset/')) return true;
  const asBase = objective.returns === base.returns && objective.baseline === base.baseline;
  if (sampling !== 'independent') return objective.alpha === 0 && asBase;
  return objective.alpha === 0 || asBase;
}

function matching(all: readonly Estimator[], pattern: string): Estimator[] {
  const wanted = pattern.split('/');
  const found = all.filter(({ name }) => {
    const parts = name.split('/');
    return wanted.length <= parts.length && wanted.every((part, i) => part === '*' || part === parts[i]);
  });
  if (found.length > 0) return found;
  throw new UsageError(
    `--estimators ${pattern}: no such estimator; expected returns/baseline/importance/sampling/alpha with * for any (${[
      futureNames,
      baselineNames,
      importanceNames,
      samplingSchemeNames,
    ]
      .map((names) => names.join(' '))
      .join(' / ')}), or preset/${presetNames.join('|')}`,
  );
}
