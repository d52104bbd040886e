import * as tf from '@tensorflow/tfjs-core';
import { createCache, decodeStep, disposeCache, prefill } from '../../src/models/cache.js';
import { type FamilyName, familyNames, newModelConfig } from '../../src/models/families.js';
import { forwardHidden, headLogits, initModel, type Model } from '../../src/models/model.js';
import { scoreTokens } from '../../src/scoring/score.js';
import { initBackend, type Precision, precisions } from '../../src/tensor/backend.js';
import { gatherRows, tokenLogprob } from '../../src/tensor/ops/index.js';
import { disposeParams, valueAndGrads } from '../../src/tensor/params.js';
import { oneLine, verdict } from './rows.js';

const emulated = Boolean(process.env.MINILLM_CUDA_EMULATOR);

interface Sizes {
  layers: number;
  width: number;
  heads: number;
  vocab: number;
  batch: number;
  length: number;
}

const small: Sizes = { layers: 2, width: 32, heads: 4, vocab: 61, batch: 2, length: 9 };
const heads64: Sizes = { layers: 2, width: 256, heads: 4, vocab: 1003, batch: 3, length: 70 };
const gpt2: Sizes = { layers: 2, width: 768, heads: 12, vocab: 8191, batch: 2, length: 130 };

/**
 * How far a precision may be from the CPU in float32: log-probabilities in nats, and gradients by the norm of the difference over their own norm.
 * Two layers of products whose factors have 10 (TF32) or 7 (bfloat16) bits of fraction; a wrong kernel is off by 1.
 */
const BOUNDS: Record<Precision | 'bfloat16', { logprob: number; gradient: number }> = {
  float32: { logprob: 1e-4, gradient: 1e-3 },
  tf32: { logprob: 2e-2, gradient: 2e-2 },
  bfloat16: { logprob: 1.5e-1, gradient: 1e-1 },
};

interface Outcome {
  logprobs: Float64Array;
  grads: Record<string, Float32Array>;
  greedy: number[];
}

/** The part `parity`: every family with the same random weights on the CPU (WebAssembly) and on the card, in every precision. */
export async function parity(): Promise<void> {
  const cases = familyNames.flatMap((family) =>
    (emulated ? [small] : [small, heads64, ...(family === 'gpt2' || family === 'llama' ? [gpt2] : [])]).map(
      (sizes) => ({ family, sizes }),
    ),
  );
  await initBackend({ backend: 'wasm' });
  const expected = cases.map(({ family, sizes }) => outcome(family, sizes));
  for (const [i, { family, sizes }] of cases.entries()) {
    const notes: string[] = [];
    let holds = true;
    for (const precision of precisions) {
      await initBackend({ backend: 'cuda', precision });
      try {
        const found = compared(precision, outcome(family, sizes), expected[i]!);
        holds &&= found.holds;
        notes.push(found.note);
      } catch (error) {
        holds = false;
        notes.push(`${precision}: ${oneLine(error)}`);
      }
    }
    const { layers, width, heads, length } = sizes;
    verdict(`${family} L${layers} D${width} H${heads} T${length}`, holds, notes.join('; '));
  }
}

function compared(precision: Precision, found: Outcome, right: Outcome): { holds: boolean; note: string } {
  const bounds = BOUNDS[precision];
  const logprob = found.logprobs.reduce((most, x, i) => larger(most, Math.abs(x - right.logprobs[i]!)), 0);
  let [gradient, where] = [0, ''];
  // A key bias shifts every score of a query alike: its gradient is rounding noise around 0.
  const floor = 1e-4 * Math.hypot(...Object.values(right.grads).map(norm));
  for (const [name, grad] of Object.entries(right.grads)) {
    const difference = norm(grad.map((x, i) => x - found.grads[name]![i]!));
    const relative = difference / (norm(grad) + floor);
    if (larger(gradient, relative) !== gradient) [gradient, where] = [relative, name];
  }
  const same = right.greedy.filter((token, i) => token === found.greedy[i]).length;
  // Rounding may turn a token; in float32 it may not here.
  const greedy = precision !== 'float32' || same === right.greedy.length;
  const worst = gradient > bounds.gradient ? ` (${where})` : '';
  return {
    holds: logprob <= bounds.logprob && gradient <= bounds.gradient && greedy,
    note: `${precision}: log-probabilities ${logprob.toExponential(1)} of ${bounds.logprob}, gradients ${gradient.toExponential(1)} of ${bounds.gradient}${worst}, greedy ${same}/${right.greedy.length}`,
  };
}

/** NaN counts as largest. */
const larger = (a: number, b: number): number => (b <= a ? a : b);
const norm = (x: Float32Array): number => Math.sqrt(x.reduce((sum, v) => sum + v * v, 0));

/** What a model of seeded weights gives on the active backend. */
function outcome(family: FamilyName, sizes: Sizes): Outcome {
  const model = modelOf(family, sizes);
  const { vocab, batch, length } = sizes;
  const ids = Int32Array.from({ length: batch * length }, (_, i) => (i * 7919 + 3) % vocab);
  const scores = scoreTokens(
    model,
    Array.from({ length: batch }, (_, b) => ids.slice(b * length, (b + 1) * length)),
  );
  const { value, grads } = valueAndGrads((p) => {
    const hidden = forwardHidden(p, model.config, ids, batch, length);
    const targets = tf.tensor1d(
      ids.map((id) => (id * 5 + 1) % vocab),
      'int32',
    );
    return tf.neg(tf.mean(tokenLogprob(headLogits(p, model.config, hidden), targets))) as tf.Scalar;
  }, model.params);
  const read = Object.entries(grads).map(([name, g]) => [name, Float32Array.from(g.dataSync())] as const);
  value.dispose();
  disposeParams(grads);
  const greedy = continued(model, ids, sizes);
  disposeParams(model.params);
  return {
    logprobs: Float64Array.from(scores.flatMap((score) => Array.from(score))),
    grads: Object.fromEntries(read),
    greedy,
  };
}

function modelOf(family: FamilyName, { layers, width, heads, vocab, length }: Sizes): Model {
  const grouped = family !== 'gpt2' && family !== 'opt';
  const config = newModelConfig(family, {
    ...{
      vocabSize: vocab,
      hiddenSize: width,
      layers,
      heads,
      maxPositions: length + 8,
      tiedHead: family !== 'llama',
    },
    ...(grouped && { kvHeads: heads / 2 }),
  });
  return initModel({ ...config, initStd: 0.06 }, 5);
}

/** Five more tokens of each sequence through the cache, the most probable each time. */
function continued(model: Model, ids: Int32Array, { batch, length }: Sizes): number[] {
  const cache = createCache(model.config, batch, length + 5);
  const last = Int32Array.from({ length: batch }, (_, b) => b * length + length - 1);
  const best = (hidden: tf.Tensor2D): tf.Tensor =>
    tf.argMax(headLogits(model.params, model.config, hidden), 1);
  const tokens: number[] = [];
  for (let t = 0; t < 5; t++) {
    const given = Int32Array.from(tokens.slice(-batch));
    const chosen = tf.tidy(() =>
      best(
        t === 0
          ? gatherRows(prefill(model, cache, ids, batch, length), tf.tensor1d(last, 'int32'))
          : decodeStep(model, cache, given, new Int32Array(batch).fill(length + t - 1)),
      ),
    );
    tokens.push(...chosen.dataSync());
    chosen.dispose();
  }
  disposeCache(cache);
  return tokens;
}
