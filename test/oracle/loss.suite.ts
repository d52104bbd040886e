import * as tf from '@tensorflow/tfjs-core';
import { expect, it } from 'vitest';
import { advantages, needsActions } from '../../src/objectives/advantages.js';
import { type MinillmLossInputs, minillmLoss } from '../../src/objectives/minillmLoss.js';
import { type ObjectiveConfig, presets } from '../../src/objectives/presets.js';
import { countTokens, flatten, mapTokens } from '../../src/objectives/ragged.js';
import { type Enumeration, enumerate, population } from '../../src/oracle/enumeration.js';
import { estimatorMoments } from '../../src/oracle/estimator.js';
import {
  criticActions,
  criticValues,
  entropyExact,
  lengthNormalisedKlExact,
  objectiveExact,
} from '../../src/oracle/exact.js';
import { parseWorld } from '../../src/oracle/worldFile.js';
import { randomWorld, randomWorldJson, withTask } from './worlds.js';

/**
 * The loss that training differentiates, summed over every sequence of a world: its gradient in the student's logits,
 * through the tape of the active backend, is the oracle's expectation, and the exact gradient where that is claimed.
 */
export function lossSuite(): void {
  const plain: ObjectiveConfig = { ...presets.paper, cliprange: 0, length_norm: 'off', importance: 'prefix' };
  const enumeration = enumerate(randomWorld(3, 4, 1));
  const exact = objectiveExact(enumeration.world).gradient;
  const perToken = lengthNormalisedKlExact(enumeration).gradient;
  const task = enumerate(parseWorld(withTask(randomWorldJson(3, 4, 1), 0.5), 'task'));
  const halved = objectiveExact(task.world).gradient;

  it.each<[string, Partial<ObjectiveConfig>, Float64Array | undefined, Enumeration?]>([
    ['single step, sampled', {}, exact],
    ['single step, rao-blackwell, position', { returns: 'rao-blackwell', baseline: 'position' }, exact],
    ['R_t alone', { single_step: false, include_r_t: true, baseline: 'batch' }, exact],
    ['without mixing', { alpha: 0, importance: 'none', returns: 'rao-blackwell' }, exact],
    ['total, rao-blackwell', { length_norm: 'total', returns: 'rao-blackwell' }, perToken],
    ['preset paper, clipped at the first update', presets.paper, undefined],
    ['preset lmops, clipped at the first update', presets.lmops, undefined],
    ['preset minillm', presets.minillm, undefined],
    // At q_new = q_old the ratio of GSPO-token is that of a token; that of GSPO spreads A over the response.
    ['ratio sequence-token', { ratio: 'sequence-token' }, exact],
    ['ratio sequence', { ratio: 'sequence', baseline: 'position' }, undefined],
    ['action-value, prefix weights', { baseline: 'action-value', returns: 'rao-blackwell' }, exact],
    [
      'action-value, R_t alone, a task',
      { kl_coef: 0.5, baseline: 'action-value', single_step: false, include_r_t: true },
      halved,
      task,
    ],
    ['action-value, token weights, clipped', { ...presets.minillm, baseline: 'action-value' }, undefined],
    ['a task', { kl_coef: 0.5, returns: 'rao-blackwell', baseline: 'position' }, halved, task],
  ])('%s', (_, overrides, claimed, of = enumeration) => {
    const config = { ...plain, ...overrides };
    // Half of what is true: no claim rests on a good critic.
    const critic = [of.world, 'wrong', config.include_r_t] as const;
    const V = criticValues(...critic);
    const values = of.sequences.map(({ states }) => Float64Array.from(states, (s) => V[s]!));
    const batch = { ...population(of, config.alpha), ...(needsActions(config) && { values }) };
    const signals = advantages(batch, config);
    const D = needsActions(config) ? criticActions(...critic) : undefined;
    // p̃(y) goes into the advantages and the KL weights: ρ and its clip stay as they are.
    const weighted = (x: Float64Array[]) =>
      flatten(mapTokens(x, (value, _t, row) => value * batch.probabilities[row]!));
    const found = tapeGradient(of, config, {
      oldLogprobs: flatten(batch.studentLogprobs),
      advantages: weighted(signals.advantages),
      pgWeights: flatten(signals.pgWeights),
      klWeights: weighted(signals.klWeights),
      coefficients: new Float32Array(countTokens(batch.studentLogprobs)).fill(1),
      lengths: of.sequences.map(({ tokens }) => tokens.length),
      ...(D && {
        actions: {
          // D is in the advantage, so p̃(y) is on it, too.
          values: of.sequences.flatMap(({ states }, row) =>
            Array.from(states, (s) => Array.from(D[s]!, (x) => x * batch.probabilities[row]!)),
          ),
          weights: flatten(signals.stateWeights),
        },
      }),
    });
    const { expectation } = estimatorMoments(of, config, { critic: 'wrong' });
    expectation.forEach((x, i) => {
      expect(Math.abs(found[i]! - x), `logit ${i}: ${found[i]}, oracle ${x}`).toBeLessThan(1e-5);
      if (claimed) expect(Math.abs(found[i]! - claimed[i]!), `logit ${i}, exact`).toBeLessThan(1e-5);
    });
  });

  it('an entropy bonus: that of the visited states, and not the gradient of the expected sum of entropies', () => {
    const c = 0.3;
    const config: ObjectiveConfig = { ...plain, alpha: 0, importance: 'none', entropy_coef: c };
    const batch = population(enumeration, 0);
    const signals = advantages(batch, config);
    const bonus = entropyExact(enumeration.world);
    const found = tapeGradient(enumeration, config, {
      oldLogprobs: flatten(batch.studentLogprobs),
      advantages: flatten(signals.advantages),
      pgWeights: flatten(signals.pgWeights),
      klWeights: flatten(signals.klWeights),
      // Every response with its probability: what is summed are expectations.
      coefficients: flatten(mapTokens(batch.studentLogprobs, (_x, _t, row) => batch.probabilities[row]!)),
    });
    exact.forEach((x, i) => {
      const claimed = x - c * bonus.atStates[i]!;
      expect(Math.abs(found[i]! - claimed), `logit ${i}`).toBeLessThan(1e-5);
    });
    const missing = Math.hypot(...bonus.gradient.map((x, i) => x - bonus.atStates[i]!));
    expect(missing / Math.hypot(...bonus.gradient)).toBeGreaterThan(0.05);
  });
}

/** The gradient of the loss over every sequence of a world in the student's logits of every state; it leaves no tensor. */
function tapeGradient(
  { world, sequences }: Enumeration,
  config: ObjectiveConfig,
  {
    actions,
    ...constants
  }: Omit<MinillmLossInputs, 'studentLogits' | 'teacherLogits' | 'tokenIds' | 'actions'> & {
    actions?: { values: number[][]; weights: Float32Array };
  },
): ArrayLike<number> {
  const before = tf.memory().numTensors;
  const rows = sequences.flatMap(({ states }) => [...states]);
  const teacher = rows.flatMap((s) => [...world.states[s]!.logp]);
  const tokens = sequences.flatMap((sequence) => [...sequence.tokens]);
  const gradient = tf.tidy(() => {
    // A lookup that every backend differentiates: one-hot times table.
    const oneHot = tf.oneHot(tf.tensor1d(rows, 'int32'), world.states.length);
    const lookup = tf.cast(oneHot, 'float32') as tf.Tensor2D;
    const inputs = {
      ...constants,
      ...(actions && { actions: { ...actions, values: tf.tensor2d(actions.values) } }),
      teacherLogits: tf.tensor2d(teacher, [rows.length, world.vocab]),
      tokenIds: tf.tensor1d(tokens, 'int32'),
    };
    const loss = (x: tf.Tensor): tf.Scalar =>
      minillmLoss({ ...inputs, studentLogits: tf.matMul(lookup, x as tf.Tensor2D) }, config).loss;
    const logits = world.states.flatMap(({ logq }) => [...logq]);
    return tf.grad(loss)(tf.tensor2d(logits, [world.states.length, world.vocab]));
  });
  const found = gradient.dataSync();
  gradient.dispose();
  expect(tf.memory().numTensors).toBe(before);
  return found;
}
