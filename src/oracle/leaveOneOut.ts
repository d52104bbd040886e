import { addBlock, dot, meanGradient, type SampledGradient, squaredNorm } from './blocks.js';
import type { Enumeration } from './enumeration.js';
import type { Moments } from './estimator.js';

/**
 * Exact moments of the mean gradient of K independent samples of one prompt with the leave-one-out baseline, without
 * enumerating K-tuples. Write f_i for sample i's gradient without baseline, S_{i,t} = w_t ∇ln q(y_t) and G_{i,t} for its
 * scores and returns, both 0 beyond its end. The loss gradient has −(G − b) S, so the baseline adds
 *
 *     g_i = f_i + (1/(K−1)) Σ_{j≠i} c(i,j),     c(i,j) = Σ_t S_{i,t} G_{j,t}
 *
 * and m = (1/K) Σ_i g_i is a sum over samples and ordered pairs. With a_t = E[S_t], Ḡ_t = E[G_t],
 * A = Σ_t S_t Ḡ_t and B = Σ_t a_t G_t (the two conditional means of c) counting the pairs that share samples gives
 *
 *     K·Var(m) = Var f + 2 Cov(f, A + B)
 *              + [ Var c(1,2) + Cov(c(1,2), c(2,1)) + (K−2) Var(A + B) ] / (K−1)
 *
 * where variances and covariances are traces. Scores at different t live in different logits, so all cross terms in t
 * vanish: E|c|² = Σ_t E|S_t|² E[G_t²], E[c(1,2)·c(2,1)] = Σ_t |E[S_t G_t]|².
 *
 * @throws RangeError for K < 2
 */
export function leaveOneOutMoments(
  { world, geometry }: Enumeration,
  gradients: readonly SampledGradient[],
  samples: number,
): Moments {
  if (!(samples >= 2))
    throw new RangeError(`leave-one-out needs at least 2 samples per prompt, got ${samples}`);
  const size = world.states.length * world.vocab;
  const meanScore = new Float64Array(size); // a_t, on the states of depth t
  const meanScoreReturn = new Float64Array(size); // E[S_t G_t]
  const meanReturn = new Float64Array(world.horizon); // Ḡ_t
  const squaredReturn = new Float64Array(world.horizon);
  const squaredScore = new Float64Array(world.horizon);
  for (const { probability, tokens, states, w, returns } of gradients) {
    states.forEach((s, t) => {
      const y = tokens[t]!;
      addBlock(meanScore, s, geometry.score[s]![y]!, probability * w[t]!);
      addBlock(meanScoreReturn, s, geometry.score[s]![y]!, probability * w[t]! * returns[t]!);
      meanReturn[t]! += probability * returns[t]!;
      squaredReturn[t]! += probability * returns[t]! ** 2;
      squaredScore[t]! += probability * w[t]! ** 2 * geometry.scoreScore[s]![y]!;
    });
  }

  const depth = world.states.map(({ prefix }) => prefix.length);
  const a = world.states.map((_, s) => meanScore.subarray(s * world.vocab, (s + 1) * world.vocab));
  const scoreA = geometry.score.map((rows, s) => rows.map((row) => dot(row, a[s]!)));
  const klA = geometry.kl.map((row, s) => dot(row, a[s]!));
  // |a_t|² of every state at depth t: B reaches states that the sample itself never visits.
  const squaredA = new Float64Array(world.horizon);
  a.forEach((block, s) => {
    squaredA[depth[s]!]! += dot(block, block);
  });

  let ff = 0; // E|f|²
  let fh = 0; // E[f · (A + B)]
  let hh = 0; // E|A + B|²
  for (const gradient of gradients) {
    const { probability, tokens, states, kl, slope, w, returns } = gradient;
    ff += probability * squaredNorm(geometry, gradient);
    states.forEach((s, t) => {
      const y = tokens[t]!;
      const [mean, g] = [meanReturn[t]!, returns[t]!];
      const fS = w[t]! * (slope[t]! * geometry.scoreScore[s]![y]! + kl[t]! * geometry.scoreKl[s]![y]!);
      const fa = slope[t]! * scoreA[s]![y]! + kl[t]! * klA[s]!;
      const SS = w[t]! ** 2 * geometry.scoreScore[s]![y]!;
      const Sa = w[t]! * scoreA[s]![y]!;
      fh += probability * (mean * fS + g * fa);
      hh += probability * (mean ** 2 * SS + 2 * mean * g * Sa + g ** 2 * squaredA[t]!);
    });
  }

  const meanF = meanGradient(geometry, gradients);
  const meanC = meanScore.map((x, i) => x * meanReturn[depth[Math.floor(i / world.vocab)]!]!);
  const cc = dot(squaredScore, squaredReturn); // E|c(1,2)|²
  const swapped = dot(meanScoreReturn, meanScoreReturn); // E[c(1,2) · c(2,1)]
  const mcc = dot(meanC, meanC);
  // A + B has the mean 2 E[c].
  const varianceF = ff - dot(meanF, meanF);
  const covarianceF = fh - 2 * dot(meanF, meanC);
  const pairs = cc - mcc + (swapped - mcc) + (samples - 2) * (hh - 4 * mcc);
  return {
    expectation: meanF.map((f, i) => f + meanC[i]!),
    variance: varianceF + 2 * covarianceF + pairs / (samples - 1),
  };
}
