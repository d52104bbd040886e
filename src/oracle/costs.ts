import type { World } from './world.js';

/** Costs from a state on, β nats less rewards: of each token, and on average under the student. */
export function costs({ states, vocab, klCoef = 1 }: World): { value: Float64Array; cost: Float64Array[] } {
  const value = new Float64Array(states.length);
  const cost = states.map(() => new Float64Array(vocab));
  for (let s = states.length - 1; s >= 0; s--) {
    const { logq, logp, next, reward } = states[s]!;
    for (let v = 0; v < vocab; v++) {
      cost[s]![v] =
        klCoef * (logq[v]! - logp[v]!) - (reward?.[v] ?? 0) + (next[v]! >= 0 ? value[next[v]!]! : 0);
      value[s]! += Math.exp(logq[v]!) * cost[s]![v]!;
    }
  }
  return { value, cost };
}
