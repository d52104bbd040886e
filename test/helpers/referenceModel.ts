import type { Model } from '../../src/models/model.js';

/*
 * Both model families once more, in plain float64 JavaScript, one token after the other: slow and obvious. What the
 * rollout engine records is held against it.
 */

type Vector = number[];
interface Matrix {
  rows: number;
  columns: number;
  data: ArrayLike<number>;
}

/** Logits [T][V] after every token of a sequence, each position attending to all before it. */
export function referenceLogits(model: Model, ids: readonly number[]): Vector[] {
  return referenceReader(model)(ids);
}

/** Reads the parameters once and scores many sequences. */
export function referenceReader(model: Model): (ids: readonly number[]) => Vector[] {
  const weights = new Map<string, Matrix>();
  for (const [name, tensor] of Object.entries(model.params)) {
    const [rows, columns] = tensor.rank === 2 ? (tensor.shape as [number, number]) : [1, tensor.size];
    weights.set(name, { rows, columns, data: tensor.dataSync() });
  }
  const get = (name: string): Matrix => {
    const found = weights.get(name);
    if (!found) throw new Error(`no parameter ${name}`);
    return found;
  };
  const read = model.config.family === 'llama' ? llama : gpt2;
  return (ids) => read(model, get, ids);
}

type Get = (name: string) => Matrix;

function llama({ config }: Model, get: Get, ids: readonly number[]): Vector[] {
  const { layers, heads, kvHeads, headDim, normEps, ropeTheta } = config;
  const keys: Vector[][] = Array.from({ length: layers }, () => []);
  const values: Vector[][] = Array.from({ length: layers }, () => []);
  return ids.map((id, position) => {
    let x = row(get('model.embed_tokens.weight'), id);
    for (let layer = 0; layer < layers; layer++) {
      const at = `model.layers.${layer}`;
      const linear = (name: string, input: Vector): Vector => times(input, get(`${at}.${name}.weight`));
      const h = rms(x, vector(get(`${at}.input_layernorm.weight`)), normEps);
      const q = rotate(linear('self_attn.q_proj', h), headDim, position, ropeTheta!);
      keys[layer]!.push(rotate(linear('self_attn.k_proj', h), headDim, position, ropeTheta!));
      values[layer]!.push(linear('self_attn.v_proj', h));
      const mixed = attend(q, keys[layer]!, values[layer]!, { heads, kvHeads, headDim });
      x = add(x, linear('self_attn.o_proj', mixed));
      const m = rms(x, vector(get(`${at}.post_attention_layernorm.weight`)), normEps);
      const gate = linear('mlp.gate_proj', m);
      const up = linear('mlp.up_proj', m);
      x = add(
        x,
        linear(
          'mlp.down_proj',
          gate.map((g, i) => (g / (1 + Math.exp(-g))) * up[i]!),
        ),
      );
    }
    const last = rms(x, vector(get('model.norm.weight')), normEps);
    return config.tiedHead
      ? timesTransposed(last, get('model.embed_tokens.weight'))
      : times(last, get('lm_head.weight'));
  });
}

function gpt2({ config }: Model, get: Get, ids: readonly number[]): Vector[] {
  const { layers, heads, headDim, hiddenSize: width, normEps } = config;
  const keys: Vector[][] = Array.from({ length: layers }, () => []);
  const values: Vector[][] = Array.from({ length: layers }, () => []);
  const norm = (name: string, x: Vector): Vector =>
    layer1(x, vector(get(`${name}.weight`)), vector(get(`${name}.bias`)), normEps);
  const linear = (name: string, x: Vector): Vector =>
    add(times(x, get(`${name}.weight`)), vector(get(`${name}.bias`)));
  return ids.map((id, position) => {
    let x = add(row(get('transformer.wte.weight'), id), row(get('transformer.wpe.weight'), position));
    for (let layer = 0; layer < layers; layer++) {
      const at = `transformer.h.${layer}`;
      const fused = linear(`${at}.attn.c_attn`, norm(`${at}.ln_1`, x));
      keys[layer]!.push(fused.slice(width, 2 * width));
      values[layer]!.push(fused.slice(2 * width));
      const mixed = attend(fused.slice(0, width), keys[layer]!, values[layer]!, {
        heads,
        kvHeads: heads,
        headDim,
      });
      x = add(x, linear(`${at}.attn.c_proj`, mixed));
      const inner = linear(`${at}.mlp.c_fc`, norm(`${at}.ln_2`, x)).map(gelu);
      x = add(x, linear(`${at}.mlp.c_proj`, inner));
    }
    const last = norm('transformer.ln_f', x);
    return config.tiedHead
      ? timesTransposed(last, get('transformer.wte.weight'))
      : times(last, get('lm_head.weight'));
  });
}

function row({ columns, data }: Matrix, index: number): Vector {
  return Array.from({ length: columns }, (_, i) => data[index * columns + i]!);
}

function vector(m: Matrix): Vector {
  return row(m, 0);
}

function add(a: Vector, b: Vector): Vector {
  return a.map((x, i) => x + b[i]!);
}

/** x W, W [in, out] */
function times(x: Vector, { columns, data }: Matrix): Vector {
  return Array.from({ length: columns }, (_, o) =>
    x.reduce((sum, value, i) => sum + value * data[i * columns + o]!, 0),
  );
}

/** x Wᵀ, W [out, in] */
function timesTransposed(x: Vector, { rows, columns, data }: Matrix): Vector {
  return Array.from({ length: rows }, (_, o) =>
    x.reduce((sum, value, i) => sum + value * data[o * columns + i]!, 0),
  );
}

function rms(x: Vector, gain: Vector, eps: number): Vector {
  const mean = x.reduce((sum, v) => sum + v * v, 0) / x.length;
  return x.map((v, i) => (v / Math.sqrt(mean + eps)) * gain[i]!);
}

function layer1(x: Vector, gain: Vector, bias: Vector, eps: number): Vector {
  const mean = x.reduce((sum, v) => sum + v, 0) / x.length;
  const variance = x.reduce((sum, v) => sum + (v - mean) ** 2, 0) / x.length;
  return x.map((v, i) => ((v - mean) / Math.sqrt(variance + eps)) * gain[i]! + bias[i]!);
}

function gelu(x: number): number {
  return 0.5 * x * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3)));
}

/** Every head by itself: the pair (i, i + Dh/2) turned by the angle position · θ^(−2i/Dh). */
function rotate(x: Vector, headDim: number, position: number, theta: number): Vector {
  const half = headDim / 2;
  const out = [...x];
  for (let start = 0; start < x.length; start += headDim) {
    for (let i = 0; i < half; i++) {
      const angle = position * theta ** ((-2 * i) / headDim);
      const [a, b] = [x[start + i]!, x[start + half + i]!];
      out[start + i] = a * Math.cos(angle) - b * Math.sin(angle);
      out[start + half + i] = b * Math.cos(angle) + a * Math.sin(angle);
    }
  }
  return out;
}

function attend(
  q: Vector,
  keys: readonly Vector[],
  values: readonly Vector[],
  { heads, kvHeads, headDim }: { heads: number; kvHeads: number; headDim: number },
): Vector {
  const out: Vector = [];
  for (let head = 0; head < heads; head++) {
    const own = Math.floor((head * kvHeads) / heads) * headDim;
    const scores = keys.map((key) => {
      let dot = 0;
      for (let i = 0; i < headDim; i++) dot += q[head * headDim + i]! * key[own + i]!;
      return dot / Math.sqrt(headDim);
    });
    const weights = softmax(scores);
    for (let i = 0; i < headDim; i++) {
      out.push(weights.reduce((sum, w, t) => sum + w * values[t]![own + i]!, 0));
    }
  }
  return out;
}

export function logSoftmax(logits: readonly number[]): number[] {
  const top = Math.max(...logits);
  const total = Math.log(logits.reduce((sum, x) => sum + Math.exp(x - top), 0)) + top;
  return logits.map((x) => x - total);
}

export function softmax(logits: readonly number[]): number[] {
  return logSoftmax(logits).map(Math.exp);
}

/** The largest absolute difference of two lists; infinite when their lengths differ. */
export function maxDifference(a: ArrayLike<number>, b: ArrayLike<number>): number {
  if (a.length !== b.length) return Number.POSITIVE_INFINITY;
  let worst = 0;
  for (let i = 0; i < a.length; i++) {
    const difference = Math.abs(a[i]! - b[i]!);
    if (!(difference <= worst)) worst = difference; // NaN counts as a difference
  }
  return worst;
}
