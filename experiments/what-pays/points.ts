/** The points of the grid that are compared, and the sweeps of a setting: docs/minillm.md, "The grid of methods". */

/** A named point: what it changes in the centre, `future`. */
export type Points = Readonly<Record<string, Readonly<Record<string, unknown>>>>;

/**
 * Each point differs from one other in one choice. `future` is the centre: the student's own samples, the single step and the undiscounted
 * Rao-Blackwell return with a position baseline, two passes over a round, nothing added.
 */
export const points: Points = {
  // credit
  future: {},
  single: { 'objective.returns': 'none' },
  sampled: { 'objective.returns': 'sampled' },
  'no-baseline': { 'objective.baseline': 'none' },
  critic: { 'objective.baseline': 'value' },
  'action-critic': { 'objective.baseline': 'action-value' },
  'gamma-0.9': { 'objective.gamma': 0.9 },
  'gamma-0.5': { 'objective.gamma': 0.5 },
  normed: { 'objective.length_norm': 'remaining' },
  'per-token': { 'objective.length_norm': 'total' },
  // states
  'gold-single': { 'objective.returns': 'none', 'rollout.states': 'gold' },
  'mixed-single': { 'objective.returns': 'none', 'objective.alpha': 0.2 },
  'mixed-future': { 'objective.alpha': 0.2 },
  'mixed-prefix': { 'objective.alpha': 0.2, 'objective.importance': 'prefix' },
  'mixed-unclipped': { 'objective.alpha': 0.2, 'objective.cliprange': 0 },
  'mixed-prefix-unclipped': {
    'objective.alpha': 0.2,
    'objective.importance': 'prefix',
    'objective.cliprange': 0,
  },
  // freshness: as many optimizer steps, so that one pass asks for twice as many rollouts
  'epochs-1': { 'rollout.inner_epochs': 1 },
  'epochs-4': { 'rollout.inner_epochs': 4 },
  'epochs-4-unclipped': { 'rollout.inner_epochs': 4, 'objective.cliprange': 0 },
  // what is added
  'gold-loss': { 'objective.gold_coef': 1 },
  'text-loss': { 'objective.lm_coef': 1 },
  // the paper's method, all of it
  paper: { 'objective.preset': 'paper', 'objective.alpha': 0.2, 'objective.length_norm': 'remaining' },
};

/** The effects that the page tells: of each choice with the others fixed, a point minus another. */
export const effects: readonly [what: string, point: string, minus: string][] = [
  ['the future terms', 'future', 'single'],
  ['… with γ = 0.9', 'gamma-0.9', 'single'],
  ['… with γ = 0.5', 'gamma-0.5', 'single'],
  ['… divided by the remaining length', 'normed', 'single'],
  ['… of the reverse KL per token', 'per-token', 'single'],
  ['… as sampled returns', 'sampled', 'single'],
  ['Rao-Blackwell returns', 'future', 'sampled'],
  ['the position baseline', 'future', 'no-baseline'],
  ['a critic instead', 'critic', 'future'],
  ['a critic of actions instead', 'action-critic', 'critic'],
  ["the student's states", 'single', 'gold-single'],
  ['the mixture for them, single step', 'mixed-single', 'single'],
  ['the mixture for them, with the future', 'mixed-future', 'future'],
  ['… weighted by the whole prefix', 'mixed-prefix', 'future'],
  ['no clip, the mixture', 'mixed-unclipped', 'mixed-future'],
  ['no clip, the mixture by the whole prefix', 'mixed-prefix-unclipped', 'mixed-prefix'],
  ['one pass instead of two', 'epochs-1', 'future'],
  ['four passes instead of two', 'epochs-4', 'future'],
  ['no clip, four passes', 'epochs-4-unclipped', 'epochs-4'],
  ['cross-entropy on gold', 'gold-loss', 'future'],
  ['the pretraining text', 'text-loss', 'future'],
];
