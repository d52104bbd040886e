import * as tf from '@tensorflow/tfjs-core';
import { halfDtypes, halfOf, shapeOf } from '../halves.js';
import type {
  AttentionDims,
  AttentionParts,
  DivergenceKind,
  Kernels,
  LogitEdits,
  MixtureKind,
  SampleSettings,
} from '../kernels.js';
import type { AffineWeights, BlockWeights, DecoderWeights, NormWeights } from '../weights.js';

/**
 * Runs a kernel that an engine declares by name, with named inputs in order and numbers for attributes. The names, inputs,
 * outputs and attributes are those of the C++ declarations in tensorflow/kernels.
 */
export type RunNamed = (
  name: string,
  attrs: Readonly<Record<string, number>>,
  inputs: tf.Tensor[],
  results: number,
) => tf.Tensor[];

/** What engines with named kernels do in ways of their own. */
export interface NamedEngine {
  run: RunNamed;
  writeRows(buffer: tf.Tensor2D, rows: Int32Array, values: tf.Tensor2D): tf.Tensor2D;
  /** A copy with memory of its own. */
  copy(x: tf.Tensor): tf.Tensor;
  addresses: Kernels['addresses'];
}

const KINDS: Record<DivergenceKind, number> = { reverseKl: 0, forwardKl: 1, crossEntropy: 2 };

/** The table of kernels by an engine that runs them by name. */
export function namedKernels({ run, writeRows, copy, addresses }: NamedEngine): Kernels {
  const one = <T extends tf.Tensor>(
    name: string,
    inputs: tf.Tensor[],
    attrs: Record<string, number> = {},
  ): T => run(name, attrs, inputs, 1)[0] as T;
  const pair = <A extends tf.Tensor, B extends tf.Tensor>(
    name: string,
    inputs: tf.Tensor[],
    attrs: Record<string, number> = {},
  ): [A, B] => run(name, attrs, inputs, 2) as [A, B];

  return {
    matMul(a, b, { transposeA, transposeB, bias, residual } = {}) {
      return one('MinillmMatMul', [a, b, bias ?? a, residual ?? a], {
        transpose_a: Number(transposeA ?? false),
        transpose_b: Number(transposeB ?? false),
        has_bias: Number(bias !== undefined),
        has_residual: Number(residual !== undefined),
        ...halfAttrs(b),
      });
    },
    linearGelu: (x, w, b, withSlope) =>
      pair('MinillmLinearGelu', [x, w, b], { with_slope: Number(withSlope), ...halfAttrs(w) }),
    geluLinearGrad: (dy, w, slope) => one('MinillmGeluLinearGrad', [dy, w, slope], halfAttrs(w)),
    weightGrads: (x, dy) => pair('MinillmWeightGrads', [x, dy]),
    columnSums: (x) => one('MinillmColumnSums', [x]),

    gelu: (x) => one('MinillmGelu', [x]),
    geluGrad: (dy, x) => one('MinillmGeluGrad', [dy, x]),
    swiglu: (gate, up) => one('MinillmSwiglu', [gate, up]),
    swigluGrad: (dy, gate, up) => pair('MinillmSwigluGrad', [dy, gate, up]),
    rotary: (x, angles, heads, sign) => one('MinillmRotary', [x, ...angles], { heads, sign }),

    layerNorm: (x, gain, bias, eps) => pair('MinillmLayerNorm', [x, gain, bias], { eps }),
    layerNormGrad(dy, x, gain, stats, residual) {
      const attrs = { has_residual: Number(residual !== undefined) };
      const grads = run('MinillmLayerNormGrad', attrs, [dy, x, gain, stats, residual ?? dy], 3);
      return grads as [tf.Tensor2D, tf.Tensor1D, tf.Tensor1D];
    },
    rmsNorm: (x, gain, eps) => pair('MinillmRmsNorm', [x, gain], { eps }),
    rmsNormGrad: (dy, x, gain, stats, residual) =>
      pair('MinillmRmsNormGrad', [dy, x, gain, stats, residual ?? dy], {
        has_residual: Number(residual !== undefined),
      }),

    attention(parts, dims) {
      const [q, k = q, v = q] = parts;
      return pair('MinillmAttention', [q, k, v], attentionAttrs(parts, dims));
    },
    attentionGrad(dy, { parts, o, kept }, dims) {
      const [q, k = q, v = q] = parts;
      const grads = run('MinillmAttentionGrad', attentionAttrs(parts, dims), [dy, q, k, v, o, kept], 3);
      tf.dispose(grads.slice(parts.length));
      return grads.slice(0, parts.length) as tf.Tensor2D[];
    },
    decodeAttention(q, k, v, { keys, values }, positions, { heads, kvHeads, window }) {
      const at = tf.tensor1d(positions, 'int32');
      const o = one<tf.Tensor2D>('MinillmDecodeAttention', [q, k, v, keys, values, at], {
        heads,
        kv_heads: kvHeads,
        window,
      });
      at.dispose();
      return o;
    },
    decode: (model, tokens, positions, cache, { heads, kvHeads }) =>
      tf.tidy(() => {
        const none = tf.tensor1d([], 'float32');
        const tensors = decoderTensors(model, none);
        const halves = tensors.filter(halfOf);
        const kinds = tensors.flatMap((tensor) => [kindOf(tensor), shapeOf(tensor)[1] ?? 0]);
        const params = tensors.map((tensor) => (halfOf(tensor) ? none : tensor));
        const inputs = [
          tf.tensor1d(tokens, 'int32'),
          tf.tensor1d(positions, 'int32'),
          ...(model.angles?.(positions) ?? [none, none]),
          tf.tensor1d(model.windows, 'int32'),
          ...cache.keys,
          ...cache.values,
          ...params,
          ...halves,
          tf.tensor1d(halves.length > 0 ? kinds : [], 'int32'),
        ];
        const attrs = {
          ...{ L: model.blocks.length, P: params.length, H: halves.length },
          ...{ heads, kv_heads: kvHeads, eps: model.eps },
        };
        return one<tf.Tensor2D>('MinillmDecode', inputs, attrs);
      }),

    gatherRows: (x, rows) => one('MinillmGatherRows', [x, rows], halfAttrs(x)),
    gatherRowsGrad: (dy, rows, count) => one('MinillmGatherRowsGrad', [dy, rows], { count }),
    writeRows,
    addresses,

    tokenLogprob(logits, ids) {
      const [y, norms] = pair<tf.Tensor1D, tf.Tensor>('MinillmTokenLogprob', [logits, ids]);
      return [y, [logits, ids, norms]];
    },
    tokenLogprobGrad: (dy, kept) => one('MinillmTokenLogprobGrad', [dy, ...kept]),
    headLogprob: (states, { weight, tied }, ids) =>
      one('MinillmHeadLogprob', [states, weight, ids], {
        transposed: Number(tied),
        ...halfAttrs(weight),
      }),
    divergence(kind, student, teacher) {
      const [y, norms] = pair<tf.Tensor1D, tf.Tensor>('MinillmDivergence', [student, teacher], {
        kind: KINDS[kind],
      });
      return [y, [student, teacher, y, norms]];
    },
    divergenceGrad: (kind, dy, kept) => one('MinillmDivergenceGrad', [dy, ...kept], { kind: KINDS[kind] }),
    mixture(of, student, teacher) {
      const results = run('MinillmMixture', mixtureAttrs(of), [student, teacher], 3);
      return [results[0] as tf.Tensor1D, [student, teacher, ...results.slice(1)]];
    },
    mixtureGrad: (of, dy, kept) => one('MinillmMixtureGrad', [dy, ...kept], mixtureAttrs(of)),

    sample(student, teacher, uniforms, settings, edits) {
      const records = tf.tidy(() =>
        one('MinillmSample', sampleInputs(student, teacher, uniforms, settings, edits), {
          vocab: settings.vocab,
          top_k: settings.topK,
        }),
      );
      const data = records.dataSync<'float32'>();
      records.dispose();
      return data;
    },

    squaredNorm: (xs) => one('MinillmSquaredNorm', xs, { N: xs.length }),
    addScaled(totals, xs, weight) {
      const factor = tf.scalar(weight);
      const sums = run('MinillmAddScaled', { N: xs.length }, [...totals, ...xs, factor], xs.length);
      factor.dispose();
      return sums;
    },
    adamW({ params, first, second }, grads, { decay, gradScale, stepSize, beta1, beta2, epsilon }) {
      if (params.length === 0) return { params, first, second };
      const next = { params: own(params, copy), first: own(first, copy), second: own(second, copy) };
      const decays = tf.tensor1d(decay);
      const settings = tf.tensor1d([gradScale, stepSize, beta1, beta2, epsilon]);
      const lists = [next.params, next.first, next.second, grads].flat();
      const done = one('MinillmAdamW', [...lists, decays, settings], { N: params.length });
      tf.dispose([decays, settings, done]);
      return next;
    },
  };
}

/** The same tensors, but copies of those whose memory another tensor shares (a clone), so that the other keeps its values. */
function own(tensors: tf.Tensor[], copyOf: (x: tf.Tensor) => tf.Tensor): tf.Tensor[] {
  const backend = tf.backend();
  return tensors.map((tensor) => {
    if (backend.refCount(tensor.dataId) === 1) return tensor;
    const copy = copyOf(tensor);
    tensor.dispose();
    return copy;
  });
}

/** 0 of float32, 1 of bfloat16, 2 of float16. */
function kindOf(x: tf.Tensor): number {
  const half = halfOf(x);
  return half ? 1 + halfDtypes.indexOf(half.dtype) : 0;
}

/** Of the input that may be a 16-bit matrix: its kind, and how many columns it has then. */
function halfAttrs(x: tf.Tensor2D): Record<string, number> {
  return { halves: kindOf(x), columns: halfOf(x)?.shape[1] ?? 0 };
}

const attentionAttrs = (
  parts: AttentionParts,
  { heads, kvHeads, length, window = 0 }: AttentionDims,
): Record<string, number> => ({
  heads,
  kv_heads: kvHeads,
  length,
  window,
  packed: Number(parts.length === 1),
});

/** k is the share of the ratio p/m in the derivative (ops/divergencesMixed.ts). */
const mixtureAttrs = (of: MixtureKind): Record<string, number> => {
  const { a, b, c } = of === 'totalVariation' ? { a: 0, b: 0, c: 0 } : of;
  return { a, b, c, k: b * c - a * (1 - c), kind: Number(of === 'totalVariation') };
};

const noEdits: LogitEdits = {
  starts: new Int32Array(0),
  ids: new Int32Array(0),
  factors: new Float32Array(0),
};

function sampleInputs(
  student: tf.Tensor2D,
  teacher: tf.Tensor2D | undefined,
  uniforms: ArrayLike<number>,
  { temperature, alpha, topP, minP, greedy, vocab }: SampleSettings,
  edits: LogitEdits = noEdits,
): tf.Tensor[] {
  const batch = student.shape[0];
  // A float64 as the sum of two float32, so that the kernel inverts finely.
  const parts = new Float32Array(2 * batch);
  for (let b = 0; b < batch; b++) {
    parts[2 * b] = uniforms[b] ?? 0;
    parts[2 * b + 1] = (uniforms[b] ?? 0) - parts[2 * b]!;
  }
  return [
    student,
    teacher ?? tf.tensor2d([], [0, vocab]),
    tf.tensor2d(parts, [batch, 2]),
    tf.tensor1d([greedy ? 1 : temperature, teacher ? alpha : 0, topP, Number(greedy), minP]),
    tf.tensor1d(edits.starts, 'int32'),
    tf.tensor1d(edits.ids, 'int32'),
    tf.tensor1d(edits.factors),
  ];
}

/** In the order of tensorflow/kernels/decode.cc; what a model does not have is `none`. */
function decoderTensors(model: DecoderWeights, none: tf.Tensor1D): tf.Tensor[] {
  const norm = ({ gain, bias = none }: NormWeights): tf.Tensor[] => [gain, bias];
  const map = (affine?: AffineWeights): tf.Tensor[] => [affine?.weight ?? none, affine?.bias ?? none];
  const ofBlock = (block: BlockWeights): tf.Tensor[] => [
    ...norm(block.attentionNorm),
    ...[0, 1, 2].flatMap((i) => map(block.attention[i])),
    ...(block.headNorms ?? [none, none]),
    ...map(block.out),
    ...norm(block.mlpNorm),
    ...map(block.up),
    ...map(block.gate),
    ...map(block.down),
  ];
  const plain = [
    ...[model.tokens, model.places ?? none, ...norm(model.lastNorm)],
    ...model.blocks.flatMap(ofBlock),
  ];
  const adapters = model.blocks.flatMap(({ attention: [q, k, v], out, up, gate, down }) =>
    [q, k, v, out, up, gate, down].map((map) => map?.lora),
  );
  if (adapters.every((lora) => lora === undefined)) return plain;
  return [
    ...plain,
    ...adapters.flatMap((lora) => [lora?.a ?? none, lora?.b ?? none]),
    tf.tensor1d(adapters.map((lora) => lora?.scale ?? 0)),
  ];
}
