import type { SampledBatch } from '../objectives/advantages.js';
import { mixedLogprob } from '../objectives/importance.js';
import { type Geometry, geometryOf } from './blocks.js';
import type { World } from './world.js';

/** One sequence of the world: the tokens and the state (index into `World.states`) in which each was drawn. */
export interface Sequence {
  tokens: Int32Array;
  states: Int32Array;
}

/** A world unrolled: everything that does not depend on the estimator. */
export interface Enumeration {
  world: World;
  /** Every sequence, once. */
  sequences: Sequence[];
  geometry: Geometry;
}

export function enumerate(world: World): Enumeration {
  const sequences: Sequence[] = [];
  const visit = (state: number, tokens: number[], states: number[]): void => {
    const along = [...states, state];
    for (let v = 0; v < world.vocab; v++) {
      const next = world.states[state]!.next[v]!;
      if (next >= 0) visit(next, [...tokens, v], along);
      else sequences.push({ tokens: Int32Array.of(...tokens, v), states: Int32Array.from(along) });
    }
  };
  visit(0, [], []);
  return { world, sequences, geometry: geometryOf(world) };
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
  return {
    studentLogprobs: token((logq) => logq),
    teacherLogprobs: token((_, logp) => logp),
    behaviorLogprobs: token((logq, logp) => mixedLogprob(logq, logp, alpha)),
    kl: sequences.map(({ states }) => Float64Array.from(states, (s) => world.states[s]!.kl)),
  };
}

/**
 * All sequences as one batch, each weighted by its probability p̃(y) under teacher-mixed sampling: batch statistics over
 * it are those of an infinitely large batch.
 */
export function population(
  { world, sequences }: Enumeration,
  alpha: number,
): SampledBatch & { probabilities: Float64Array } {
  const batch = batchOf(world, sequences, alpha);
  const probabilities = batch.behaviorLogprobs.map((logs) => {
    let sum = 0;
    for (let t = 0; t < logs.length; t++) sum += logs[t]!;
    return Math.exp(sum);
  });
  return { ...batch, probabilities: Float64Array.from(probabilities) };
}
