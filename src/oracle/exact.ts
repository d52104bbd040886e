import { costs } from './costs.js';
import type { Enumeration } from './enumeration.js';
import type { World } from './world.js';

/** An objective of the student and its gradient in the student's logits, mean over the prompts. */
export interface Exact {
  value: number;
  /** ∂value/∂logit, flat: state · vocab + token. */
  gradient: Float64Array;
}

/**
 * What is minimised and its exact gradient, by dynamic programming over the tree (no sampling, no score function, so that it
 * shares nothing with the estimators it judges): the sequence-level reverse KL, and with a task β KL − E[Σ_t ρ_t]. Costs from a state on:
 *
 *     Q(s,v) = β (ln q(v|s) − ln p(v|s)) − ρ(s,v) + V(s·v),   V(s) = Σ_v q(v|s) Q(s,v),   value = V(root)
 *     ∂value/∂z(s,v) = P(s) q(v|s) (Q(s,v) − V(s)),  P(s) = probability that the student reaches s
 *
 * (the derivative of ln q inside Q has mean zero under q). Nats, and the unit of the rewards.
 */
export function objectiveExact(world: World): Exact {
  const { states, vocab, roots } = world;
  const { value, cost } = costs(world);
  const reach = new Float64Array(states.length);
  for (const root of roots) reach[root] = 1 / roots.length;
  const gradient = new Float64Array(states.length * vocab);
  states.forEach(({ logq, next }, s) => {
    for (let v = 0; v < vocab; v++) {
      const q = reach[s]! * Math.exp(logq[v]!);
      if (next[v]! >= 0) reach[next[v]!] = q;
      gradient[s * vocab + v] = q * (cost[s]![v]! - value[s]!);
    }
  });
  return { value: roots.reduce((sum, root) => sum + value[root]!, 0) / roots.length, gradient };
}

/**
 * The expected sum of entropies E_q Σ_t H_t, its exact gradient, and the part of it that the bonus of `entropy_coef` has, by dynamic
 * programming as above:
 *
 *     V(s) = H(s) + Σ_v q(v|s) V(s·v)
 *     ∂/∂z(s,v) = P(s) [ −q (ln q + H) + q (V(s·v) − Σ_w q(w|s) V(s·w)) ]
 *
 * `atStates` is the first term alone: states held fixed.
 */
export function entropyExact({ states, vocab, roots }: World): Exact & { atStates: Float64Array } {
  const own = states.map(({ logq }) => -logq.reduce((sum, l) => sum + Math.exp(l) * l, 0));
  const ahead = new Float64Array(states.length);
  for (let s = states.length - 1; s >= 0; s--) {
    const { logq, next } = states[s]!;
    for (let v = 0; v < vocab; v++) {
      const after = next[v]!;
      if (after >= 0) ahead[s]! += Math.exp(logq[v]!) * (own[after]! + ahead[after]!);
    }
  }
  const reach = new Float64Array(states.length);
  for (const root of roots) reach[root] = 1 / roots.length;
  const atStates = new Float64Array(states.length * vocab);
  const gradient = new Float64Array(states.length * vocab);
  states.forEach(({ logq, next }, s) => {
    for (let v = 0; v < vocab; v++) {
      const q = reach[s]! * Math.exp(logq[v]!);
      const after = next[v]!;
      if (after >= 0) reach[after] = q;
      atStates[s * vocab + v] = -q * (logq[v]! + own[s]!);
      const later = after >= 0 ? own[after]! + ahead[after]! : 0;
      gradient[s * vocab + v] = atStates[s * vocab + v]! + q * (later - ahead[s]!);
    }
  });
  const value = roots.reduce((sum, root) => sum + own[root]! + ahead[root]!, 0) / roots.length;
  return { value, gradient, atStates };
}

/** `objectiveExact` of the reverse KL alone, whatever the task. */
export function reverseKlExact(world: World): Exact {
  return objectiveExact(withoutTask(world));
}

function withoutTask({ klCoef: _, ...world }: World): World {
  return { ...world, states: world.states.map(({ reward: __, ...state }) => state) };
}

/** Whose V(s) and Q(s,a) baselines and the `gae` returns read: there is no hidden state to fit a head to. */
export const critics = {
  exact: { equation: 'V(s_t) = E_q[G_t | s_t], Q(s_t,a) = E_q[G_t | s_t, y_t = a]', scale: 1 },
  wrong: { equation: 'half of it', scale: 0.5 },
} satisfies Record<string, { equation: string; scale: number }>;

export type CriticName = keyof typeof critics;

/**
 * A critic's value of every state, for γ = 1 and no length normalisation: E_q[R_t | s_t] with r_t in the return, else
 * E_q[R_{t+1} | s_t], which lacks the teacher's expected reward −β KL_t, not the task's.
 */
export function criticValues(world: World, critic: CriticName, includeReward: boolean): Float64Array {
  const { scale } = critics[critic];
  const { states, klCoef = 1 } = world;
  return costs(world).value.map((v, s) => -scale * (includeReward ? v : v - klCoef * states[s]!.kl));
}

/**
 * A critic's D(s,a) = Q(s,a) − V(s) of every state and action, by the same convention: Q is minus the cost of the action and of all that
 * follows, without r_t in the return less the teacher's reward of the action itself.
 */
export function criticActions(world: World, critic: CriticName, includeReward: boolean): Float64Array[] {
  const { states, klCoef = 1 } = world;
  const values = criticValues(world, critic, includeReward);
  return costs(world).cost.map((own, s) => {
    const { logq, logp } = states[s]!;
    return own.map((cost, a) => {
      const q = -cost - (includeReward ? 0 : klCoef * (logp[a]! - logq[a]!));
      return critics[critic].scale * q - values[s]!;
    });
  });
}

/**
 * The length-normalised objective β E_q[(1/T) Σ_t ln(q/p)] − E_q[Σ_t ρ_t] of `length_norm: total` and its exact gradient, by the
 * product rule over all sequences: with C = Σ_t ln(q/p), ∇ = Σ_y q(y) (β (C(y) + 1)/T(y) − Σ_t ρ_t) ∇ln q(y).
 */
export function lengthNormalisedKlExact({ world, sequences }: Enumeration): Exact {
  const { states, vocab, roots, klCoef = 1 } = world;
  const gradient = new Float64Array(states.length * vocab);
  let value = 0;
  for (const { tokens, states: path } of sequences) {
    let logq = 0;
    let logp = 0;
    let reward = 0;
    tokens.forEach((v, t) => {
      logq += states[path[t]!]!.logq[v]!;
      logp += states[path[t]!]!.logp[v]!;
      reward += states[path[t]!]!.reward?.[v] ?? 0;
    });
    const probability = Math.exp(logq) / roots.length;
    value += (probability * klCoef * (logq - logp)) / tokens.length - probability * reward;
    const weight = (probability * klCoef * (logq - logp + 1)) / tokens.length - probability * reward;
    tokens.forEach((y, t) => {
      const s = path[t]!;
      for (let v = 0; v < vocab; v++) {
        gradient[s * vocab + v]! += weight * ((v === y ? 1 : 0) - Math.exp(states[s]!.logq[v]!));
      }
    });
  }
  return { value, gradient };
}
