import * as tf from '@tensorflow/tfjs-core';
import { describe, expect, it } from 'vitest';
import { UsageError } from '../../src/errors.js';
import { createCache, decodeStep, disposeCache, prefill } from '../../src/models/cache.js';
import { forwardHidden, headLogits, headLogprobs, type Model } from '../../src/models/model.js';
import { type HalfDtype, halfDtypes, halfMatrix, packHalves, unpackHalves } from '../../src/tensor/halves.js';
import { kernels } from '../../src/tensor/kernels.js';
import * as ops from '../../src/tensor/ops/index.js';
import { disposeParams, type Params, valueAndGrads } from '../../src/tensor/params.js';
import { tinyModel } from '../helpers/models.js';
import { gaussian } from './gradcheck.js';

// Rows, columns, inner: on both sides of the thresholds of the kernels, with whole panels and without, of odd and even width.
const shapes = [
  [1, 33, 7],
  [5, 34, 18],
  [3, 70, 41],
  [8, 600, 40],
  [13, 65, 257],
  [16, 97, 27],
  [24, 50, 33],
  [100, 40, 31],
  [130, 131, 64],
] as const;

/** A matrix of 16 bits and the float32 matrix of the same numbers; a few are the smallest that float16 has. */
function both(
  shape: [number, number],
  name: string,
  dtype: HalfDtype,
): [half: tf.Tensor2D, full: tf.Tensor2D] {
  const values = Float32Array.from(gaussian(shape, name, 0.3).values, (x, i) => (i % 7 === 3 ? x * 1e-6 : x));
  const rounded = unpackHalves(packHalves(values, shape[1], dtype), shape[1], dtype);
  return [halfMatrix(values, shape, dtype), tf.tensor2d(rounded, shape)];
}

const matrix = (shape: [number, number], name: string) => tf.tensor2d(gaussian(shape, name).values, shape);

/** 16-bit weights against float32 weights of the same numbers: the same bits, on every backend; `initBackend` must have run. */
export function halvesSuite(): void {
  describe.each(halfDtypes)('weights in %s', (dtype) => {
    it.each(shapes)('products [%i, %i], inner %i', (N, O, I) => {
      tf.tidy(() => {
        const x = matrix([N, I], 'x');
        const dy = matrix([N, O], 'dy');
        const residual = matrix([N, O], 'residual');
        const bias = tf.tensor1d(gaussian([O], 'bias').values);
        const [half, full] = both([I, O], 'w', dtype);
        const [halfT, fullT] = both([O, I], 'wT', dtype);
        const ids = tf.tensor1d(
          Array.from({ length: N }, (_, n) => (5 * n) % O),
          'int32',
        );
        const rows = tf.tensor1d(
          Array.from({ length: N }, (_, n) => (3 * n) % I),
          'int32',
        );
        const results = (w: tf.Tensor2D, wT: tf.Tensor2D): Record<string, tf.Tensor> => {
          const k = kernels();
          const [h, slope] = k.linearGelu(x, w, bias, true);
          return {
            plain: k.matMul(x, w),
            ends: k.matMul(x, w, { bias, residual }),
            transposed: k.matMul(x, wT, { transposeB: true, residual }),
            h,
            slope,
            back: k.geluLinearGrad(dy, w, x),
            head: k.headLogprob(x, { weight: w, tied: false }, ids, 1000),
            tied: k.headLogprob(x, { weight: wT, tied: true }, ids, 1000),
            rows: k.gatherRows(w, rows),
          };
        };
        const expected = results(full, fullT);
        for (const [name, y] of Object.entries(results(half, halfT))) {
          expect(y.shape, name).toEqual(expected[name]!.shape);
          expect(y.dataSync(), name).toEqual(expected[name]!.dataSync());
        }
      });
    });

    it.each(['gpt2', 'llama'] as const)(
      '%s in a piece and token by token; nothing is left behind',
      (family) => {
        const before = tf.memory().numTensors;
        const full = tinyModel(3, { family, vocab: 25, hidden: 12, tied: family === 'gpt2' });
        const half = inHalves(full, dtype);
        const found = passes(half);
        const expected = passes(full);
        for (const name of Object.keys(expected)) expect(found[name], name).toEqual(expected[name]);
        disposeParams(full.params);
        disposeParams(half.params);
        expect(tf.memory().numTensors).toBe(before);
      },
    );

    it('gradients pass through, and none is for the weights', () => {
      const full = tinyModel(4, { family: 'gpt2', vocab: 25, hidden: 12 });
      const half = inHalves(full, dtype);
      const gradient = (w: Params) =>
        tf.tidy(() => {
          const at = (name: string) => w[`transformer.h.0.${name}.weight`] as tf.Tensor2D;
          const bias = (width: number) => tf.zeros([width]) as tf.Tensor1D;
          const { grads } = valueAndGrads(
            ({ x }) => {
              const y = ops.linear(x as tf.Tensor2D, at('attn.c_proj'), bias(12));
              const mlp = {
                up: { weight: at('mlp.c_fc'), bias: bias(24) },
                down: { weight: at('mlp.c_proj'), bias: bias(12) },
              };
              const z = ops.geluMlp(y, mlp, y);
              return tf.sum(tf.square(ops.unembed(z, w['transformer.wte.weight'] as tf.Tensor2D)));
            },
            { x: matrix([5, 12], 'x') },
          );
          return grads.x!.dataSync();
        });
      expect(gradient(half.params)).toEqual(gradient(full.params));
      disposeParams(full.params);
      disposeParams(half.params);
    });

    it('shapes are those of the numbers', () => {
      tf.tidy(() => {
        const [w] = both([6, 5], 'w', dtype);
        expect(() => ops.linear(matrix([2, 3], 'x'), w)).toThrow(
          new UsageError('linear: weight: shape [6, 5] found, [3, any] expected'),
        );
        expect(() => ops.linear(matrix([2, 6], 'x'), w, tf.zeros([3]))).toThrow('[5] expected');
      });
    });
  });
}

/** The model with its matrices in 16 bits; those of `full` become the same numbers. */
function inHalves(full: Model, dtype: HalfDtype): Model {
  const params: Params = {};
  for (const [name, tensor] of Object.entries(full.params)) {
    if (tensor.rank !== 2) {
      params[name] = tensor.clone();
      continue;
    }
    const shape = tensor.shape as [number, number];
    const values = tensor.dataSync<'float32'>();
    params[name] = halfMatrix(values, shape, dtype);
    full.params[name] = tf.tensor(unpackHalves(packHalves(values, shape[1], dtype), shape[1], dtype), shape);
    tensor.dispose();
  }
  return { config: full.config, params };
}

function passes({ config, params }: Model): Record<string, ArrayLike<number>> {
  const ids = Int32Array.from({ length: 12 }, (_, i) => (7 * i + 3) % 25);
  return tf.tidy(() => {
    const hidden = forwardHidden(params, config, ids, 2, 6);
    const cache = createCache(config, 2, 6);
    prefill({ config, params }, cache, Int32Array.from([...ids.slice(0, 5), ...ids.slice(6, 11)]), 2, 5);
    const last = decodeStep({ config, params }, cache, Int32Array.of(ids[5]!, ids[11]!), Int32Array.of(5, 5));
    disposeCache(cache);
    return {
      hidden: hidden.dataSync(),
      logits: headLogits(params, config, hidden).dataSync(),
      logprobs: headLogprobs(params, config, hidden, tf.tensor1d(ids, 'int32')).dataSync(),
      last: last.dataSync(),
    };
  });
}
