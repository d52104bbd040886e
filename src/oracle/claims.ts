import { baselines } from '../objectives/baselines.js';
import { importances } from '../objectives/importance.js';
import { lengthNorms } from '../objectives/lengthNorm.js';
import type { ObjectiveConfig } from '../objectives/presets.js';
import { returnForms } from '../objectives/returns.js';
import { ratios } from '../objectives/surrogate.js';
import { samplingSchemes } from '../rollout/uniforms.js';
import type { Drawing } from './estimator.js';

/**
 * Whether the pieces of an estimator claim that it is unbiased as a whole: every piece is, r_t counts once, w is where it is
 * needed, nothing is cut, values that are bootstrapped from are exact, and a baseline of other samples meets independent ones.
 * A large batch is meant where a baseline uses batch statistics.
 */
export function claimsUnbiased(c: ObjectiveConfig, { sampling, critic }: Drawing): boolean {
  const baseline = baselines[c.baseline];
  const pieces = [returnForms[c.returns], baseline, lengthNorms[c.length_norm]];
  const corrected =
    c.alpha === 0 || (importances[c.importance].unbiased && c.w_on_pg && (c.w_on_reg || !c.single_step));
  const untouched =
    !ratios[c.ratio].spreads &&
    c.gamma === 1 &&
    c.whiten === 'off' &&
    c.cliprange === 0 &&
    c.cliprange_reward === 0 &&
    c.entropy_coef === 0;
  const unscaled = c.reward_scaling === 0 || c.reward_scaling === 1;
  const bootstraps = returnForms[c.returns].needsValues && c.gae_lambda < 1;
  return (
    pieces.every((piece) => piece.unbiased) &&
    c.include_r_t !== c.single_step &&
    corrected &&
    untouched &&
    unscaled &&
    (!bootstraps || critic === 'exact') &&
    (!baseline.ofSamples || samplingSchemes[sampling].group === 1)
  );
}
