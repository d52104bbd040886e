import { type Directions, dot, type ParameterSpace, type ProductBlock, termProduct } from '../space.js';

/** Scalar products of so many directions with one another are kept in one matrix; 72 MB. */
const maxDense = 3000;

/**
 * The parameters of a network: gradients of logits meet there through its Jacobian J, so that the scalar product of two
 * directions d, e at the states s, t is dᵀ J_s J_tᵀ e.
 *
 * @param jacobians of every state's logits, [V · P]
 */
export function networkSpace(directions: Directions, jacobians: readonly Float64Array[]): ParameterSpace {
  const vocab = directions[0]!.length - 2;
  const size = jacobians[0]!.length / vocab;
  const dense = directions.length * (vocab + 2) <= maxDense;
  const blockOf = (dense ? denseProducts : lazyProducts)(directions, jacobians);
  return {
    size,
    inner(a, b) {
      let sum = 0;
      for (let i = 0; i < a.states.length; i++)
        for (let j = 0; j < b.states.length; j++)
          sum += termProduct(blockOf(a.states[i]!, b.states[j]!), a, i, b, j, vocab);
      return sum;
    },
    products(a) {
      const n = a.states.length;
      return Float64Array.from({ length: n * n }, (_, at) => {
        const [i, j] = [Math.floor(at / n), at % n];
        return termProduct(blockOf(a.states[i]!, a.states[j]!), a, i, a, j, vocab);
      });
    },
    pull: (gradient) => pullBack(jacobians, gradient),
  };
}

/** Jᵀ g over all states. @param gradient in all logits, flat: state · V + token */
export function pullBack(jacobians: readonly Float64Array[], gradient: Float64Array): Float64Array {
  const vocab = gradient.length / jacobians.length;
  const result = new Float64Array(jacobians[0]!.length / vocab);
  gradient.forEach((g, index) => {
    if (g === 0) return;
    const own = jacobians[Math.floor(index / vocab)]!;
    const from = (index % vocab) * result.length;
    for (let p = 0; p < result.length; p++) result[p]! += g * own[from + p]!;
  });
  return result;
}

type BlockOf = (s: number, t: number) => ProductBlock;

function denseProducts(directions: Directions, jacobians: readonly Float64Array[]): BlockOf {
  const kinds = directions[0]!.length;
  const stride = directions.length * kinds;
  const pulled = directions.flatMap((own, s) => own.map((d) => pullBack([jacobians[s]!], d)));
  const products = new Float64Array(stride * stride);
  pulled.forEach((a, i) => {
    for (let j = 0; j <= i; j++) {
      const product = dot(a, pulled[j]!);
      products[i * stride + j] = product;
      products[j * stride + i] = product;
    }
  });
  const found: ProductBlock = { products, at: 0, stride };
  return (s, t) => {
    found.at = s * kinds * stride + t * kinds;
    return found;
  };
}

/** Of many states most pairs never meet: a block is computed when it is first asked for. */
function lazyProducts(directions: Directions, jacobians: readonly Float64Array[]): BlockOf {
  const known = new Map<number, ProductBlock>();
  return (s, t) => {
    const key = s * directions.length + t;
    let block = known.get(key);
    if (!block) {
      const [a, b] = [s, t].map((state) => directions[state]!.map((d) => pullBack([jacobians[state]!], d)));
      const products = Float64Array.from(a!.flatMap((x) => b!.map((y) => dot(x, y))));
      block = { products, at: 0, stride: a!.length };
      known.set(key, block);
    }
    return block;
  };
}
