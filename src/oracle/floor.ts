import type { Enumeration } from './enumeration.js';
import type { Exact } from './exact.js';
import { dot } from './space.js';

/**
 * The variance of one sample that is left when every visited state contributes its share of the exact gradient,
 *
 *     g(y) = Σ_t Σ_v q(v|s_t) (Q(s_t, v) − V(s_t)) ∇ln q(v|s_t)
 *
 * without mixing: the noise of which states are visited alone. It takes the value of every action, which no estimator of this
 * project has. The prompt is held fixed, as in `Moments`.
 */
export function floorVariance({ world, space, sequences }: Enumeration, exact: Exact): number {
  const { vocab, roots, states } = world;
  const probability = sequences.map(({ tokens, states: path }) =>
    Math.exp(tokens.reduce((sum, v, t) => sum + states[path[t]!]!.logq[v]!, 0)),
  );
  const reach = new Float64Array(states.length);
  sequences.forEach(({ states: path }, row) => {
    for (const s of path) reach[s]! += probability[row]!;
  });
  // The exact gradient of a state is its probability times its share; a mean over the prompts.
  const share = exact.gradient.map((x, i) => {
    const p = reach[Math.floor(i / vocab)]!;
    return p > 0 ? (x * roots.length) / p : 0;
  });
  const means = roots.map(() => new Float64Array(space.size));
  let second = 0;
  sequences.forEach(({ prompt, states: path }, row) => {
    const flat = new Float64Array(share.length);
    for (const s of path) flat.set(share.subarray(s * vocab, (s + 1) * vocab), s * vocab);
    const g = space.pull(flat);
    second += probability[row]! * dot(g, g);
    g.forEach((x, p) => {
      means[prompt]![p]! += probability[row]! * x;
    });
  });
  return (second - means.reduce((sum, mean) => sum + dot(mean, mean), 0)) / roots.length;
}
