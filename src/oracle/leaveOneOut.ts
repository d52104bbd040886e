import type { Enumeration } from './enumeration.js';
import { meanGradient, type SampledGradient } from './gradients.js';
import { dot, type Gradient } from './space.js';
import type { PromptMoments } from './tuples.js';

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
 * where variances and covariances are traces, taken in the parameters. With C_{t,k} = E[S_t G_k],
 *
 *     E|c(1,2)|² = Σ_{t,k} E[S_t·S_k] E[G_t G_k],     E[c(1,2)·c(2,1)] = Σ_{t,k} C_{t,k}·C_{k,t}
 *
 * @param gradients of one prompt's sequences without a baseline, probabilities adding up to 1
 * @returns the moments for a K; throws RangeError for K < 2
 */
export function leaveOneOutMoments(
  enumeration: Enumeration,
  gradients: readonly SampledGradient[],
): (samples: number) => PromptMoments {
  const { space } = enumeration;
  const { horizon } = enumeration.world;
  const steps = Array.from({ length: horizon }, (_, t) => t);
  const { meanReturn, returnProducts } = returnMoments(horizon, gradients);
  const scores = gradients.map(
    (g): Gradient => ({ tokens: g.tokens, states: g.states, kl: new Float64Array(g.kl.length), slope: g.w }),
  );
  /** In the parameters. */
  const mean = (of: (g: SampledGradient, i: number) => Gradient): Float64Array =>
    meanGradient(
      enumeration,
      gradients.map((g, i) => ({ ...of(g, i), probability: g.probability })),
    );
  /** E[S_t x], x a number of the sample. */
  const meanScore = (t: number, x: (g: SampledGradient) => number): Float64Array =>
    mean((g, i) => weighted(scores[i]!, (k) => (k === t ? x(g) : 0)));
  const a = steps.map((t) => meanScore(t, () => 1));
  const C = steps.map((t) => steps.map((k) => meanScore(t, (g) => g.returns[k] ?? 0)));
  const D = steps.map((t) => mean((g) => weighted(g, () => g.returns[t] ?? 0))); // E[f G_t]

  let ff = 0; // E|f|²
  let fA = 0;
  let AA = 0;
  let cc = 0; // E|c(1,2)|²
  gradients.forEach((f, i) => {
    const A = weighted(scores[i]!, (t) => meanReturn[t]!);
    ff += f.probability * space.inner(f, f);
    fA += f.probability * space.inner(f, A);
    AA += f.probability * space.inner(A, A);
    const n = f.tokens.length;
    space.products(scores[i]!).forEach((product, at) => {
      cc += f.probability * returnProducts[Math.floor(at / n)]![at % n]! * product;
    });
  });
  const double = (f: (t: number, k: number) => number): number =>
    steps.reduce((total, t) => total + steps.reduce((sum, k) => sum + f(t, k), 0), 0);
  const fB = steps.reduce((sum, t) => sum + dot(a[t]!, D[t]!), 0);
  const AB = double((t, k) => meanReturn[t]! * dot(C[t]![k]!, a[k]!));
  const BB = double((t, k) => returnProducts[t]![k]! * dot(a[t]!, a[k]!));
  const swapped = double((t, k) => dot(C[t]![k]!, C[k]![t]!)); // E[c(1,2)·c(2,1)]

  const F = mean((g) => g);
  const meanC = mean((_, i) => weighted(scores[i]!, (t) => meanReturn[t]!));
  const mcc = dot(meanC, meanC);
  // A + B has the mean 2 E[c].
  const varianceF = ff - dot(F, F);
  const covarianceF = fA + fB - 2 * dot(F, meanC);
  const expectation = F.map((f, i) => f + meanC[i]!);
  return (samples) => {
    if (!(samples >= 2))
      throw new RangeError(`leave-one-out needs at least 2 samples per prompt, got ${samples}`);
    const pairs = cc - mcc + (swapped - mcc) + (samples - 2) * (AA + 2 * AB + BB - 4 * mcc);
    return { expectation, variance: varianceF + 2 * covarianceF + pairs / (samples - 1) };
  };
}

/** E[G_t] and E[G_t G_k]; a finished response counts 0. */
function returnMoments(horizon: number, gradients: readonly SampledGradient[]) {
  const meanReturn = new Float64Array(horizon);
  const returnProducts = Array.from({ length: horizon }, () => new Float64Array(horizon));
  for (const { probability, returns } of gradients) {
    returns.forEach((x, t) => {
      meanReturn[t]! += probability * x;
      returns.forEach((y, k) => {
        returnProducts[t]![k]! += probability * x * y;
      });
    });
  }
  return { meanReturn, returnProducts };
}

/** Every term by its own factor. */
function weighted({ tokens, states, kl, slope }: Gradient, factor: (t: number) => number): Gradient {
  const scaled = (x: Float64Array): Float64Array => x.map((value, t) => value * factor(t));
  return { tokens, states, kl: scaled(kl), slope: scaled(slope) };
}
