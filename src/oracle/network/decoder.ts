import type { ModelConfig } from '../../models/config.js';
import type { Node, Tape } from './tape.js';

/** A parameter on the tape, row-major: linear maps are [in, out], embeddings [rows, D]. */
export interface Matrix {
  columns: number;
  nodes: readonly Node[];
}

/** One token read: keys and values of every layer, linked to those of the tokens before it. */
export interface Read {
  before: Read | undefined;
  position: number;
  keys: Node[][];
  values: Node[][];
  /** [from, to) of what this token put on the tape. */
  range: readonly [from: Node, to: Node];
  /** Logits of the next token. */
  logits: Node[];
}

export interface Reader {
  tape: Tape;
  config: ModelConfig;
  parameter(name: string): Matrix;
}

type Vector = readonly Node[];

/** Families that `readToken` knows: LLaMA with its relatives, and GPT-2. */
export const float64Families = ['llama', 'qwen2', 'qwen3', 'mistral', 'gpt2'];

/**
 * The decoders of src/models once more, a token at a time on plain float64 numbers: the same functions by other code, so that
 * the oracle rests neither on float32 nor on a tensor backend.
 */
export function readToken(reader: Reader, token: number, before: Read | undefined): Read {
  const from = reader.tape.length;
  const read: Read = {
    before,
    position: before ? before.position + 1 : 0,
    keys: [],
    values: [],
    range: [from, from],
    logits: [],
  };
  const last = reader.config.family === 'gpt2' ? gpt2(reader, token, read) : rotary(reader, token, read);
  const head = reader.config.tiedHead ? undefined : reader.parameter('lm_head.weight');
  const embedding = reader.parameter(
    reader.config.family === 'gpt2' ? 'transformer.wte.weight' : 'model.embed_tokens.weight',
  );
  read.logits = Array.from({ length: reader.config.vocabSize }, (_, v) =>
    reader.tape.dot(last, head ? column(head, v) : row(embedding, v)),
  );
  read.range = [from, reader.tape.length];
  return read;
}

function rotary(reader: Reader, token: number, read: Read): Vector {
  const { tape, config } = reader;
  const { headDim, normEps, ropeTheta } = config;
  const norm = (name: string, x: Vector): Vector =>
    rmsNorm(tape, x, reader.parameter(`${name}.weight`).nodes, normEps);
  let x: Vector = row(reader.parameter('model.embed_tokens.weight'), token);
  for (let layer = 0; layer < config.layers; layer++) {
    const at = `model.layers.${layer}`;
    const map = (name: string, input: Vector, bias = false): Vector =>
      linear(reader, `${at}.${name}`, input, bias);
    const heads = (name: string, y: Vector): Vector =>
      config.qkNorm ? cut(y, headDim).flatMap((head) => norm(`${at}.self_attn.${name}`, head)) : y;
    const turned = (y: Vector): Node[] => rotate(tape, y, headDim, read.position, ropeTheta!);
    const h = norm(`${at}.input_layernorm`, x);
    const q = turned(heads('q_norm', map('self_attn.q_proj', h, config.attentionBias)));
    read.keys.push(turned(heads('k_norm', map('self_attn.k_proj', h, config.attentionBias))));
    read.values.push([...map('self_attn.v_proj', h, config.attentionBias)]);
    x = add(tape, x, map('self_attn.o_proj', attend(reader, q, layer, read), config.outputBias));
    const m = norm(`${at}.post_attention_layernorm`, x);
    const up = map('mlp.up_proj', m, config.mlpBias);
    const gated = map('mlp.gate_proj', m, config.mlpBias).map((g, i) =>
      tape.multiply(tape.apply(g, silu), up[i]!),
    );
    x = add(tape, x, map('mlp.down_proj', gated, config.mlpBias));
  }
  return norm('model.norm', x);
}

function gpt2(reader: Reader, token: number, read: Read): Vector {
  const { tape, config } = reader;
  const width = config.hiddenSize;
  const norm = (name: string, x: Vector): Vector =>
    layerNorm(
      tape,
      x,
      reader.parameter(`${name}.weight`).nodes,
      reader.parameter(`${name}.bias`).nodes,
      config.normEps,
    );
  let x = add(
    tape,
    row(reader.parameter('transformer.wte.weight'), token),
    row(reader.parameter('transformer.wpe.weight'), read.position),
  );
  for (let layer = 0; layer < config.layers; layer++) {
    const at = `transformer.h.${layer}`;
    const fused = linear(reader, `${at}.attn.c_attn`, norm(`${at}.ln_1`, x), true);
    read.keys.push([...fused.slice(width, 2 * width)]);
    read.values.push([...fused.slice(2 * width)]);
    const mixed = attend(reader, fused.slice(0, width), layer, read);
    x = add(tape, x, linear(reader, `${at}.attn.c_proj`, mixed, true));
    const inner = linear(reader, `${at}.mlp.c_fc`, norm(`${at}.ln_2`, x), true);
    const active = inner.map((y) => tape.apply(y, gelu));
    x = add(tape, x, linear(reader, `${at}.mlp.c_proj`, active, true));
  }
  return norm('transformer.ln_f', x);
}

/** Each head over this token and those before it, as far back as the layer looks. */
function attend({ tape, config }: Reader, q: Vector, layer: number, read: Read): Vector {
  const { heads, kvHeads, headDim } = config;
  const window = config.windows?.[layer] || Number.POSITIVE_INFINITY;
  const seen: Read[] = [];
  for (let r: Read | undefined = read; r && seen.length < window; r = r.before) seen.unshift(r);
  return Array.from({ length: heads }, (_, head) => {
    const own = Math.floor((head * kvHeads) / heads) * headDim;
    const query = q.slice(head * headDim, (head + 1) * headDim);
    const scores = seen.map((r) =>
      tape.combine([tape.dot(query, r.keys[layer]!.slice(own, own + headDim))], [1 / Math.sqrt(headDim)]),
    );
    const weights = tape.softmax(scores);
    return Array.from({ length: headDim }, (_, i) =>
      tape.dot(
        weights,
        seen.map((r) => r.values[layer]![own + i]!),
      ),
    );
  }).flat();
}

function row({ columns, nodes }: Matrix, index: number): Node[] {
  return nodes.slice(index * columns, (index + 1) * columns);
}

function column({ columns, nodes }: Matrix, index: number): Node[] {
  return Array.from({ length: nodes.length / columns }, (_, i) => nodes[i * columns + index]!);
}

function cut(x: Vector, size: number): Vector[] {
  return Array.from({ length: x.length / size }, (_, i) => x.slice(i * size, (i + 1) * size));
}

function linear(reader: Reader, name: string, x: Vector, bias: boolean): Node[] {
  const weight = reader.parameter(`${name}.weight`);
  const offset = bias ? reader.parameter(`${name}.bias`).nodes : undefined;
  return Array.from({ length: weight.columns }, (_, o) => reader.tape.dot(x, column(weight, o), offset?.[o]));
}

function add(tape: Tape, a: Vector, b: Vector): Node[] {
  return a.map((node, i) => tape.add(node, b[i]!));
}

/** x g / sqrt(mean x² + ε) */
function rmsNorm(tape: Tape, x: Vector, gain: Vector, eps: number): Node[] {
  const scale = inverseRoot(tape, x, eps);
  return x.map((node, i) => tape.multiply(tape.multiply(node, scale), gain[i]!));
}

function layerNorm(tape: Tape, x: Vector, gain: Vector, bias: Vector, eps: number): Node[] {
  const mean = tape.combine(
    x,
    x.map(() => 1 / x.length),
  );
  const centred = x.map((node) => tape.combine([node, mean], [1, -1]));
  const scale = inverseRoot(tape, centred, eps);
  return centred.map((node, i) => tape.dot([tape.multiply(node, scale)], [gain[i]!], bias[i]!));
}

/** 1 / sqrt(mean x² + ε) */
function inverseRoot(tape: Tape, x: Vector, eps: number): Node {
  const square = tape.dot(x, x);
  return tape.apply(square, (sum) => {
    const root = sum / x.length + eps;
    return [root ** -0.5, (-0.5 * root ** -1.5) / x.length];
  });
}

/** Every head by itself: the pair (i, i + d/2) turned by the angle position · θ^(−2i/d). */
function rotate(tape: Tape, x: Vector, size: number, position: number, theta: number): Node[] {
  return cut(x, size).flatMap((head) => {
    const half = size / 2;
    return head.map((_, i) => {
      const pair = i % half;
      const angle = position * theta ** ((-2 * pair) / size);
      const [a, b] = [head[pair]!, head[pair + half]!];
      return i < half
        ? tape.combine([a, b], [Math.cos(angle), -Math.sin(angle)])
        : tape.combine([b, a], [Math.cos(angle), Math.sin(angle)]);
    });
  });
}

function silu(x: number): [number, number] {
  const s = 1 / (1 + Math.exp(-x));
  return [x * s, s * (1 + x * (1 - s))];
}

/** GELU in its tanh form. */
function gelu(x: number): [number, number] {
  const c = Math.sqrt(2 / Math.PI);
  const t = Math.tanh(c * (x + 0.044715 * x ** 3));
  const slope = 0.5 * (1 + t) + 0.5 * x * (1 - t * t) * c * (1 + 3 * 0.044715 * x * x);
  return [0.5 * x * (1 + t), slope];
}
