import type { SampledBatch } from '../objectives/advantages.js';
import { mixedLogprob } from '../objectives/importance.js';
import { networkSpace } from './network/space.js';
import { type Directions, directionsOf, type ParameterSpace, tabularSpace } from './space.js';
import type { World } from './world.js';

/** One sequence of the world: the tokens and the state (index into `World.states`) in which each was drawn. */
export interface Sequence {
  prompt: number;
  tokens: Int32Array;
  states: Int32Array;
}

/** A world unrolled: everything that does not depend on the estimator. */
export interface Enumeration {
  world: World;
  space: ParameterSpace;
  directions: Directions;
  /** Every sequence, once, prompt by prompt. */
  sequences: Sequence[];
}

/** @param jacobians of every state's logits in the parameters, [V · P]; without them the parameters are the logits themselves */
export function enumerate(world: World, jacobians?: readonly Float64Array[]): Enumeration {
  const sequences: Sequence[] = [];
  const visit = (state: number, tokens: number[], states: number[]): void => {
    const along = [...states, state];
    const { next, prompt } = world.states[state]!;
    for (let v = 0; v < world.vocab; v++) {
      if (next[v]! >= 0) visit(next[v]!, [...tokens, v], along);
      else sequences.push({ prompt, tokens: Int32Array.of(...tokens, v), states: Int32Array.from(along) });
    }
  };
  for (const root of world.roots) visit(root, [], []);
  const directions = directionsOf(world);
  const space = jacobians ? networkSpace(directions, jacobians) : tabularSpace(directions);
  return { world, space, directions, sequences };
}

/** Sequences of a world as the batch that training would see, drawn with teacher share `alpha`. */
export function batchOf(world: World, sequences: readonly Sequence[], alpha: number): SampledBatch {
  const token = (f: (logq: number, logp: number) => number): Float64Array[] =>
    sequences.map(({ tokens, states }) =>
      Float64Array.from(tokens, (v, t) => {
        const state = world.states[states[t]!]!;
        return f(state.logq[v]!, state.logp[v]!);
      }),
    );
  const state = (f: 'kl' | 'collision'): Float64Array[] =>
    sequences.map(({ states }) => Float64Array.from(states, (s) => world.states[s]![f]));
  const rewards = sequences.map(({ tokens, states }) =>
    Float64Array.from(tokens, (v, t) => world.states[states[t]!]!.reward?.[v] ?? 0),
  );
  return {
    ...(world.states.some(({ reward }) => reward) && { taskRewards: rewards }),
    studentLogprobs: token((logq) => logq),
    teacherLogprobs: token((_, logp) => logp),
    behaviorLogprobs: token((logq, logp) => mixedLogprob(logq, logp, alpha)),
    kl: state('kl'),
    collision: state('collision'),
  };
}

/** A batch of all sequences, each with its probability, and what a critic says at their states. */
export interface Population extends SampledBatch {
  probabilities: Float64Array;
}

/**
 * All sequences as one batch, each weighted by its probability under teacher-mixed sampling from a random prompt: batch
 * statistics over it are those of an infinitely large batch.
 */
export function population({ world, sequences }: Enumeration, alpha: number): Population {
  const batch = batchOf(world, sequences, alpha);
  const probabilities = batch.behaviorLogprobs.map((logs) => {
    let sum = 0;
    for (let t = 0; t < logs.length; t++) sum += logs[t]!;
    return Math.exp(sum) / world.roots.length;
  });
  return { ...batch, probabilities: Float64Array.from(probabilities) };
}
