import { type Moments, whiteningScale } from '../objectives/batchStatistics.js';
import type { Tuple } from './coupling.js';
import type { Enumeration } from './enumeration.js';
import type { SampledGradient } from './gradients.js';
import { addGradient, dot, type Gradient, type ParameterSpace } from './space.js';
import type { PromptMoments } from './tuples.js';

/**
 * `tupleMoments` for baseline `group-normalised`, faster where tuples are many: its advantages κ (G_t − μ) depend on the tuple by two numbers only.
 * With three vectors of every sequence,
 *
 *     R = Σ_t kl_t ∇KL_t,   X = Σ_t w_t G_t ∇ln q(y_t),   Y = Σ_t w_t ∇ln q(y_t)
 *
 * the gradient of sample i is R_i − κ X_i + κμ Y_i, and the scalar products of these vectors say all about a tuple.
 *
 * @param gradients of all sequences without a baseline
 */
export function groupNormalisedMoments(
  { space, world, directions }: Enumeration,
  gradients: readonly SampledGradient[],
  law: readonly Tuple[],
): PromptMoments {
  const samples = law[0]!.rows.length;
  const vectors = gradients.map(threeVectors);
  const products = productsOf(space, vectors);
  const factors = gradients.map(() => new Float64Array(3));
  let second = 0;
  for (const { rows, probability } of law) {
    const { mean, variance } = momentsOf(Array.from(rows, (row) => gradients[row]!.returns));
    // Equal returns leave nothing but rounding, which κ = 10⁴ and the differences below would blow up.
    const scale = variance <= 1e-28 * mean * mean ? 0 : whiteningScale({ mean, variance });
    const [r, x, y] = [1 / samples, -scale / samples, (scale * mean) / samples];
    for (let k = 0; k < samples; k++) {
      const own = factors[rows[k]!]!;
      own[0]! += probability * r;
      own[1]! += probability * x;
      own[2]! += probability * y;
      for (let l = 0; l <= k; l++) {
        const p = products(rows[k]!, rows[l]!);
        const square = r * r * p[0]! + x * x * p[4]! + y * y * p[8]!;
        const mixed = r * x * (p[1]! + p[3]!) + r * y * (p[2]! + p[6]!) + x * y * (p[5]! + p[7]!);
        second += (l === k ? 1 : 2) * probability * (square + mixed);
      }
    }
  }
  const mean = new Float64Array(world.states.length * world.vocab);
  factors.forEach((own, i) => {
    if (own[0] === 0) return;
    for (const [a, vector] of vectors[i]!.entries()) addGradient(mean, directions, vector, own[a]!);
  });
  const expectation = space.pull(mean);
  return { expectation, variance: samples * (second - dot(expectation, expectation)) };
}

function threeVectors({ tokens, states, kl, w, returns }: SampledGradient): Gradient[] {
  const none = new Float64Array(kl.length);
  return [
    { tokens, states, kl, slope: none },
    { tokens, states, kl: none, slope: w.map((x, t) => x * returns[t]!) },
    { tokens, states, kl: none, slope: w },
  ];
}

/** The nine scalar products of the vectors of two sequences, computed when first asked for. */
function productsOf(space: ParameterSpace, vectors: readonly Gradient[][]) {
  const known: (Float64Array | undefined)[] = [];
  return (i: number, j: number): Float64Array => {
    const key = i * vectors.length + j;
    let products = known[key];
    if (!products) {
      products = new Float64Array(9);
      for (let at = 0; at < 9; at++) {
        products[at] = space.inner(vectors[i]![Math.floor(at / 3)]!, vectors[j]![at % 3]!);
      }
      known[key] = products;
    }
    return products;
  };
}

/** Over the tokens of the tuple, in two passes: near the teacher a sum of squares alone would lose what whitening divides by. */
function momentsOf(returns: readonly Float64Array[]): Moments {
  let [tokens, sum, squares] = [0, 0, 0];
  for (const row of returns) {
    tokens += row.length;
    for (let t = 0; t < row.length; t++) sum += row[t]!;
  }
  const mean = sum / tokens;
  for (const row of returns) for (let t = 0; t < row.length; t++) squares += (row[t]! - mean) ** 2;
  return { mean, variance: squares / tokens };
}
