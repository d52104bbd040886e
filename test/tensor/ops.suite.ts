import * as tf from '@tensorflow/tfjs-core';
import { describe, expect, it } from 'vitest';
import { UsageError } from '../../src/errors.js';
import { freeze } from '../../src/tensor/frozen.js';
import { engineName } from '../../src/tensor/kernels.js';
import * as ops from '../../src/tensor/ops/index.js';
import { disposeParams, type Params, valueAndGrads } from '../../src/tensor/params.js';
import { checkOp, expectClose, gaussian, type Input } from './gradcheck.js';
import * as reference from './ops.reference.js';

type T1 = tf.Tensor1D;
type T2 = tf.Tensor2D;
const ids = (values: number[]) => tf.tensor1d(values, 'int32');

/** The same suite for every backend; `initBackend` must have run. */
export function opsSuite(): void {
  describe('valueAndGrads', () => {
    it('gives every name a gradient, adds up several uses, and differentiates nothing else', () => {
      const before = tf.memory().numTensors;
      const teacher = tf.tensor1d([5, 6]);
      const params = { w: tf.tensor1d([2, 3]), unused: tf.tensor2d([[1, 2]]) };
      const { value, grads } = tf.tidy(() =>
        valueAndGrads((p) => tf.sum(tf.add(tf.square(p.w!), tf.mul(p.w!, teacher))), params),
      );
      expect(value.dataSync()[0]).toBe(2 * 2 + 3 * 3 + 2 * 5 + 3 * 6);
      expect(Object.keys(grads)).toEqual(['w', 'unused']);
      expect(Array.from(grads.w!.dataSync())).toEqual([9, 12]);
      expect(Array.from(grads.unused!.dataSync())).toEqual([0, 0]);
      expect(grads.unused!.shape).toEqual([1, 2]);
      disposeParams(grads);
      tf.dispose([value, teacher, params]);
      expect(tf.memory().numTensors).toBe(before);
    });
    it('refuses a function that returns no scalar', () => {
      tf.tidy(() => {
        const params = { w: tf.tensor1d([1, 2]) };
        const f = (p: Params) => tf.square(p.w!) as unknown as tf.Scalar;
        expect(() => valueAndGrads(f, params)).toThrow(UsageError);
      });
    });
  });

  describe('linear', () => {
    it('value and gradients with a bias', () =>
      checkOp({
        inputs: { x: gaussian([5, 3], 'x'), w: gaussian([3, 4], 'w'), b: gaussian([4], 'b') },
        op: (p) => ops.linear(p.x as T2, p.w as T2, p.b as T1),
        reference: ({ x, w, b }) => reference.linear(x!, w!, b!, 3),
      }));
    it('value and gradients without a bias', () =>
      checkOp({
        inputs: { x: gaussian([5, 3], 'x'), w: gaussian([3, 4], 'w') },
        op: (p) => ops.linear(p.x as T2, p.w as T2),
        reference: ({ x, w }) => reference.matMul(x!, w!, 3),
      }));
    it('value and gradients with a residual', () =>
      checkOp({
        inputs: {
          x: gaussian([7, 3], 'x'),
          w: gaussian([3, 20], 'w'),
          b: gaussian([20], 'b'),
          r: gaussian([7, 20], 'r'),
        },
        op: (p) => ops.linear(p.x as T2, p.w as T2, p.b as T1, p.r as T2),
        reference: ({ x, w, b, r }) => reference.linear(x!, w!, b!, 3).map((y, i) => y + r![i]!),
      }));
    it('literal: [1 2] [[1 0 2] [0 1 3]] + [10 20 30] = [11 22 38]', () => {
      const y = tf.tidy(() =>
        ops.linear(
          tf.tensor2d([[1, 2]]),
          tf.tensor2d([
            [1, 0, 2],
            [0, 1, 3],
          ]),
          tf.tensor1d([10, 20, 30]),
        ),
      );
      expect(Array.from(y.dataSync())).toEqual([11, 22, 38]);
      y.dispose();
    });
    it('names the argument whose shape does not fit', () => {
      tf.tidy(() => {
        const x = tf.zeros<tf.Rank.R2>([2, 3]);
        expect(() => ops.linear(x, tf.zeros<tf.Rank.R2>([4, 5]))).toThrow(UsageError);
        expect(() => ops.linear(x, tf.zeros<tf.Rank.R2>([4, 5]))).toThrow(
          'linear: weight: shape [4, 5] found, [3, any] expected',
        );
      });
    });
  });

  describe('unembed', () => {
    it('value and gradients', () =>
      checkOp({
        inputs: { x: gaussian([5, 3], 'x'), table: gaussian([6, 3], 'table') },
        op: (p) => ops.unembed(p.x as T2, p.table as T2),
        reference: ({ x, table }) => reference.matMul(x!, reference.transpose(table!, 3), 3),
      }));
  });

  describe('embedding and gatherRows', () => {
    it('value and gradients, repeated and missing rows', () => {
      for (const op of [ops.embedding, ops.gatherRows]) {
        checkOp({
          inputs: { table: gaussian([5, 3], 'table') },
          op: (p) => op(p.table as T2, ids([4, 0, 4, 1, 4])),
          reference: ({ table }) => reference.gatherRows(table!, 3, [4, 0, 4, 1, 4]),
        });
      }
    });
    it('never reads outside the table', () => {
      tf.tidy(() => {
        for (const id of [-1, 2]) expect(() => ops.embedding(tf.zeros([2, 2]), ids([0, id]))).toThrow();
      });
    });
    it('wants integer indices', () => {
      tf.tidy(() => {
        expect(() => ops.embedding(tf.zeros([2, 2]), tf.tensor1d([0, 1]))).toThrow(UsageError);
      });
    });
  });

  describe('layerNorm', () => {
    it('value and gradients', () =>
      checkOp({
        inputs: { x: gaussian([4, 6], 'x', 3), gain: gaussian([6], 'gain'), bias: gaussian([6], 'bias') },
        op: (p) => ops.layerNorm(p.x as T2, p.gain as T1, p.bias as T1, 1e-5),
        reference: ({ x, gain, bias }) => reference.layerNorm(x!, gain!, bias!, 1e-5),
      }));
    it('literal: the row [1 3] becomes [-1 1], times the gain, plus the bias', () => {
      const y = tf.tidy(() =>
        ops.layerNorm(tf.tensor2d([[1, 3]]), tf.tensor1d([2, 5]), tf.tensor1d([10, 20]), 0),
      );
      expectClose(y.dataSync(), [8, 25], 1e-6, 'value');
      y.dispose();
    });
  });

  describe('rmsNorm', () => {
    it('value and gradients', () =>
      checkOp({
        inputs: { x: gaussian([4, 6], 'x', 3), gain: gaussian([6], 'gain') },
        op: (p) => ops.rmsNorm(p.x as T2, p.gain as T1, 1e-5),
        reference: ({ x, gain }) => reference.rmsNorm(x!, gain!, 1e-5),
      }));
    it('literal: the row [3 4 0 0] has root mean square 2.5', () => {
      const y = tf.tidy(() => ops.rmsNorm(tf.tensor2d([[3, 4, 0, 0]]), tf.tensor1d([1, 10, 1, 1]), 0));
      expectClose(y.dataSync(), [1.2, 16, 0, 0], 1e-6, 'value');
      y.dispose();
    });
  });

  describe('activations', () => {
    it('gelu: value and gradient', () =>
      checkOp({
        inputs: { x: gaussian([4, 5], 'x', 2) },
        op: (p) => ops.gelu(p.x as T2),
        reference: ({ x }) => reference.gelu(x!),
      }));
    it('gelu, literal (torch.nn.functional.gelu, approximate="tanh")', () => {
      const y = tf.tidy(() => ops.gelu(tf.tensor2d([[-1, 0, 1, 100, -100]])));
      expectClose(y.dataSync(), [-0.158808, 0, 0.841192, 100, 0], 1e-5, 'value');
      y.dispose();
    });
    it('exactGelu: value and gradient', () =>
      checkOp({
        inputs: { x: gaussian([4, 5], 'x', 2) },
        op: (p) => ops.exactGelu(p.x as T2),
        reference: ({ x }) => reference.exactGelu(x!),
      }));
    it('exactGelu, literal (torch.nn.functional.gelu)', () => {
      const y = tf.tidy(() => ops.exactGelu(tf.tensor2d([[-1, 0, 1, 2.5, 100, -100]])));
      expectClose(y.dataSync(), [-0.1586553, 0, 0.8413447, 2.4844758, 100, 0], 1e-5, 'value');
      y.dispose();
    });
    it('swiglu: value and gradients', () =>
      checkOp({
        inputs: { gate: gaussian([4, 5], 'gate', 2), up: gaussian([4, 5], 'up') },
        op: (p) => ops.swiglu(p.gate as T2, p.up as T2),
        reference: ({ gate, up }) => reference.swiglu(gate!, up!),
      }));
  });

  describe('geluMlp', () => {
    const inputs = {
      x: gaussian([5, 4], 'x'),
      w1: gaussian([4, 19], 'w1', 0.5),
      b1: gaussian([19], 'b1', 0.5),
      w2: gaussian([19, 4], 'w2', 0.5),
      b2: gaussian([4], 'b2'),
      r: gaussian([5, 4], 'r'),
    };
    const op = (p: Params): T2 => {
      const weights = {
        up: { weight: p.w1 as T2, bias: p.b1 as T1 },
        down: { weight: p.w2 as T2, bias: p.b2 as T1 },
      };
      return ops.geluMlp(p.x as T2, weights, p.r as T2);
    };
    it('value and gradients', () =>
      checkOp({
        inputs,
        op,
        reference: ({ x, w1, b1, w2, b2, r }) => {
          const h = reference.linear(x!, w1!, b1!, 4).map((u) => reference.gelu([u])[0]!);
          return reference.linear(h, w2!, b2!, 19).map((y, i) => y + r![i]!);
        },
      }));
    it('is the composition of its parts', () => {
      tf.tidy(() => {
        const p = Object.fromEntries(
          Object.entries(inputs).map(([name, { shape, values }]) => [name, tf.tensor(values, shape)]),
        );
        const h = ops.gelu(ops.linear(p.x as T2, p.w1 as T2, p.b1 as T1));
        const parts = tf.add(ops.linear(h, p.w2 as T2, p.b2 as T1), p.r!);
        expectClose(op(p).dataSync(), parts.dataSync(), 1e-6, 'geluMlp');
      });
    });
  });

  describe('affineMap with an adapter', () => {
    const inputs = {
      x: gaussian([5, 4], 'x'),
      w: gaussian([4, 19], 'w'),
      c: gaussian([19], 'c'),
      a: gaussian([4, 3], 'a'),
      b: gaussian([3, 19], 'b'),
      r: gaussian([5, 19], 'r'),
    };
    const sum = (...all: number[][]): number[] => all[0]!.map((_, i) => all.reduce((s, x) => s + x[i]!, 0));
    const low = (x: number[], a: number[], b: number[], from: number, rank: number, to: number): number[] =>
      reference.linear(
        reference.linear(x, a, new Array(rank).fill(0), from).map((v) => 0.75 * v),
        b,
        new Array(to).fill(0),
        rank,
      );
    it('value and gradients', () =>
      checkOp({
        inputs,
        op: (p) => {
          const lora = { a: p.a as T2, b: p.b as T2, scale: 0.75 };
          return ops.affineMap(p.x as T2, { weight: p.w as T2, bias: p.c as T1, lora }, p.r as T2);
        },
        reference: ({ x, w, c, a, b, r }) =>
          sum(reference.linear(x!, w!, c!, 4), low(x!, a!, b!, 4, 3, 19), r!),
      }));

    it('leaves the rest as it is: of a frozen map only A and B have gradients', () => {
      const p = Object.fromEntries(
        Object.entries(inputs).map(([name, { shape, values }]) => [name, tf.tensor(values, shape)]),
      );
      const lora = { a: p.a as T2, b: p.b as T2, scale: 0.75 };
      const loss = () =>
        tf.sum<tf.Scalar>(
          tf.square(ops.affineMap(p.x as T2, { weight: p.w as T2, bias: p.c as T1, lora }, p.r as T2)),
        );
      const whole = valueAndGrads(loss, p);
      freeze(p.w!);
      freeze(p.c!);
      const { x, a, b } = p as Record<string, tf.Tensor> & { x: tf.Tensor; a: tf.Tensor; b: tf.Tensor };
      const some = valueAndGrads(loss, { x, a, b });
      for (const name of ['x', 'a', 'b'])
        expect(some.grads[name]!.dataSync(), name).toEqual(whole.grads[name]!.dataSync());
      tf.dispose([p, whole, some]);
    });

    it.each(['up', 'down', 'both'])('inside geluMlp, on %s', (where) => {
      const [onUp, onDown] = [where !== 'down', where !== 'up'];
      checkOp({
        inputs: {
          x: gaussian([5, 4], 'x'),
          w1: gaussian([4, 9], 'w1', 0.5),
          b1: gaussian([9], 'b1', 0.5),
          w2: gaussian([9, 4], 'w2', 0.5),
          b2: gaussian([4], 'b2'),
          r: gaussian([5, 4], 'r'),
          ...(onUp && { a1: gaussian([4, 2], 'a1', 0.5), c1: gaussian([2, 9], 'c1', 0.5) }),
          ...(onDown && { a2: gaussian([9, 2], 'a2', 0.5), c2: gaussian([2, 4], 'c2', 0.5) }),
        },
        op: (p) => {
          const lora = (a: string, b: string) => ({ lora: { a: p[a] as T2, b: p[b] as T2, scale: 0.75 } });
          const up = { weight: p.w1 as T2, bias: p.b1 as T1, ...(onUp && lora('a1', 'c1')) };
          const down = { weight: p.w2 as T2, bias: p.b2 as T1, ...(onDown && lora('a2', 'c2')) };
          return ops.geluMlp(p.x as T2, { up, down }, p.r as T2);
        },
        reference: ({ x, w1, b1, w2, b2, r, a1, c1, a2, c2 }) => {
          const plain = reference.linear(x!, w1!, b1!, 4);
          const u = onUp ? sum(plain, low(x!, a1!, c1!, 4, 2, 9)) : plain;
          const h = u.map((value) => reference.gelu([value])[0]!);
          const y = sum(reference.linear(h, w2!, b2!, 9), r!);
          return onDown ? sum(y, low(h, a2!, c2!, 9, 2, 4)) : y;
        },
      });
    });
  });

  describe('rotary', () => {
    const angles = gaussian([3, 2], 'angles').values;
    const cos = angles.map((a) => Math.fround(Math.cos(a)));
    const sin = angles.map((a) => Math.fround(Math.sin(a)));
    it('value and gradient, two heads', () =>
      checkOp({
        inputs: { x: gaussian([3, 8], 'x') },
        op: (p) => ops.rotary(p.x as T2, tf.tensor2d(cos, [3, 2]), tf.tensor2d(sin, [3, 2]), 2),
        reference: ({ x }) => reference.rotary(x!, cos, sin, 2, 2),
      }));
    it('literal: a quarter turn takes (a, b) to (-b, a) within each half-split pair', () => {
      const y = tf.tidy(() =>
        ops.rotary(tf.tensor2d([[1, 2, 3, 4]]), tf.tensor2d([[0, 1]]), tf.tensor2d([[1, 0]]), 1),
      );
      expectClose(y.dataSync(), [-3, 2, 1, 4], 1e-7, 'value');
      y.dispose();
    });
  });

  describe('causalAttention', () => {
    for (const [heads, kvHeads] of [
      [1, 1],
      [3, 3],
      [4, 2],
      [2, 1],
    ] as const) {
      it(`value and gradients, ${heads} query heads on ${kvHeads}`, () => {
        const dims = { batch: 2, length: 3, heads, kvHeads, headDim: 2 };
        checkOp({
          inputs: {
            q: gaussian([6, heads * 2], 'q', 2),
            k: gaussian([6, kvHeads * 2], 'k', 2),
            v: gaussian([6, kvHeads * 2], 'v'),
          },
          op: (p) => ops.causalAttention(p.q as T2, p.k as T2, p.v as T2, dims),
          reference: ({ q, k, v }) => reference.causalAttention(q!, k!, v!, dims),
        });
      });
    }
    it('value and gradients with a window of 2', () => {
      const dims = { batch: 2, length: 5, heads: 2, kvHeads: 1, headDim: 2, window: 2 };
      checkOp({
        inputs: { q: gaussian([10, 4], 'q', 2), k: gaussian([10, 2], 'k', 2), v: gaussian([10, 2], 'v') },
        op: (p) => ops.causalAttention(p.q as T2, p.k as T2, p.v as T2, dims),
        reference: ({ q, k, v }) => reference.causalAttention(q!, k!, v!, dims),
      });
    });
    it('what comes later has no influence', () => {
      const dims = { batch: 1, length: 3, heads: 1, kvHeads: 1, headDim: 2 };
      const first = (last: number) =>
        tf.tidy(() => {
          const x = tf.tensor2d([1, 2, 3, 4, last, last], [3, 2]);
          return ops.causalAttention(x, x, x, dims);
        });
      const [a, b] = [first(0), first(1e4)];
      expect(Array.from(a.dataSync().slice(0, 4))).toEqual(Array.from(b.dataSync().slice(0, 4)));
      tf.dispose([a, b]);
    });
    it('refuses heads that do not share evenly', () => {
      const dims = { batch: 1, length: 1, heads: 3, kvHeads: 2, headDim: 1 };
      tf.tidy(() => {
        const x = tf.zeros<tf.Rank.R2>([1, 3]);
        expect(() => ops.causalAttention(x, x, x, dims)).toThrow('3 query heads cannot share 2');
      });
    });
  });

  describe('decodeAttention', () => {
    it.each([0, 2])(
      'writes the new token and equals the last row of causalAttention, window %i',
      (window) => {
        const dims = { batch: 2, length: 4, heads: 4, kvHeads: 2, headDim: 3, window };
        const [q, k, v] = [gaussian([8, 12], 'q'), gaussian([8, 6], 'k'), gaussian([8, 6], 'v')];
        tf.tidy(() => {
          const full = tf.reshape(
            ops.causalAttention(
              tf.tensor2d(q.values, [8, 12]),
              tf.tensor2d(k.values, [8, 6]),
              tf.tensor2d(v.values, [8, 6]),
              dims,
            ),
            [2, 4, 12],
          );
          const keys = tf.zeros<tf.Rank.R2>([2 * 2 * 6, 3]);
          const values = tf.zeros<tf.Rank.R2>([2 * 2 * 6, 3]);
          const at = (x: { values: number[] }, t: number, width: number): T2 =>
            tf.tensor2d(
              [0, 1].flatMap((b) => x.values.slice((b * 4 + t) * width, (b * 4 + t + 1) * width)),
              [2, width],
            );
          for (let t = 0; t < 4; t++) {
            const attend = ops.decodeAttention(Int32Array.of(t, t), { ...dims, slots: 6 });
            const o = attend(at(q, t, 12), at(k, t, 6), at(v, t, 6), keys, values, window);
            expectClose(o.dataSync(), tf.slice(full, [0, t, 0], [2, 1, 12]).dataSync(), 1e-5, `token ${t}`);
          }
        });
      },
    );
  });

  describe('decodeAttention over a filled cache', () => {
    it('equals a reference that sees only the open slots, and grouped heads read their own cache', () => {
      for (const [heads, kvHeads] of [
        [2, 2],
        [4, 2],
      ] as const) {
        const dims = { batch: 2, slots: 4, heads, kvHeads, headDim: 2 };
        const [q, k, v] = ['q', 'k', 'v'].map((name) => gaussian([2, heads * 2], name)) as [
          Input,
          Input,
          Input,
        ];
        const keys = gaussian([2 * kvHeads * 4, 2], 'keys');
        const values = gaussian([2 * kvHeads * 4, 2], 'values');
        const positions = Int32Array.of(1, 2);
        const open = [
          [true, true, false, false],
          [true, true, true, false],
        ];
        /** The cache with the new token in its slot. */
        const filled = (cache: Input, x: Input): number[] =>
          cache.values.map((old, i) => {
            const [row, d] = [Math.floor(i / 2), i % 2];
            const [b, h, slot] = [Math.floor(row / (kvHeads * 4)), Math.floor(row / 4) % kvHeads, row % 4];
            return slot === positions[b] ? x.values[(b * kvHeads + h) * 2 + d]! : old;
          });
        const before = tf.memory().numTensors;
        const cached = [keys, values].map(({ values }) => tf.tensor2d(values, [2 * kvHeads * 4, 2])) as [
          tf.Tensor2D,
          tf.Tensor2D,
        ];
        const y = tf.tidy(() =>
          ops.decodeAttention(positions, dims)(
            tf.tensor2d(q.values, [2, heads * 2]),
            tf.tensor2d(k.values.slice(0, 4 * kvHeads), [2, kvHeads * 2]),
            tf.tensor2d(v.values.slice(0, 4 * kvHeads), [2, kvHeads * 2]),
            ...cached,
            0,
          ),
        );
        expect(tf.memory().numTensors).toBe(before + 3);
        const expected = reference.cachedAttention(q.values, filled(keys, k), filled(values, v), open, dims);
        expectClose(y.dataSync(), expected, 1e-5, 'value');
        expectClose(cached[0].dataSync(), filled(keys, k), 1e-6, 'keys');
        tf.dispose([y, cached]);
      }
    });
  });

  describe('writeRows', () => {
    it('writes rows in place; the buffer and its earlier aliases see the write', () => {
      const before = tf.memory().numTensors;
      const buffer = tf.zeros<tf.Rank.R2>([4, 2]);
      const alias = tf.reshape(buffer, [2, 4]);
      tf.tidy(() => {
        const first = ops.writeRows(
          buffer,
          Int32Array.of(2, 0),
          tf.tensor2d([
            [5, 6],
            [1, 2],
          ]),
        );
        expect(Array.from(first.dataSync())).toEqual([1, 2, 0, 0, 5, 6, 0, 0]);
        const second = ops.writeRows(buffer, Int32Array.of(3), tf.tensor2d([[7, 8]]));
        expect(Array.from(second.dataSync())).toEqual([1, 2, 0, 0, 5, 6, 7, 8]);
      });
      expect(Array.from(buffer.dataSync())).toEqual([1, 2, 0, 0, 5, 6, 7, 8]);
      expect(Array.from(alias.dataSync())).toEqual([1, 2, 0, 0, 5, 6, 7, 8]);
      tf.dispose([buffer, alias]);
      expect(tf.memory().numTensors).toBe(before);
    });
    it('refuses a row outside the buffer and values of another size', () => {
      tf.tidy(() => {
        const buffer = tf.zeros<tf.Rank.R2>([4, 2]);
        expect(() => ops.writeRows(buffer, Int32Array.of(4), tf.zeros([1, 2]))).toThrow('row 4');
        expect(() => ops.writeRows(buffer, Int32Array.of(-1), tf.zeros([1, 2]))).toThrow('row -1');
        expect(() => ops.writeRows(buffer, Int32Array.of(0, 1), tf.zeros([1, 2]))).toThrow(UsageError);
      });
    });
  });

  describe('tokenLogprob', () => {
    it('value and gradient', () =>
      checkOp({
        inputs: { logits: gaussian([4, 5], 'logits', 3) },
        op: (p) => ops.tokenLogprob(p.logits as T2, ids([0, 4, 2, 2])),
        reference: ({ logits }) => reference.tokenLogprob(logits!, 5, [0, 4, 2, 2]),
      }));
    it('literal: logits [0, ln 3] give probabilities 1/4 and 3/4', () => {
      const y = tf.tidy(() =>
        ops.tokenLogprob(
          tf.tensor2d([
            [0, Math.log(3)],
            [0, Math.log(3)],
          ]),
          ids([0, 1]),
        ),
      );
      expectClose(y.dataSync(), [Math.log(0.25), Math.log(0.75)], 1e-6, 'value');
      y.dispose();
    });
    for (const [what, logits, expected] of extremeRows) {
      it(`extreme logits: ${what}`, () => {
        const before = tf.memory().numTensors;
        const { value, grads } = tf.tidy(() => {
          const x = tf.tensor2d([logits]);
          return valueAndGradOf((p) => ops.tokenLogprob(p, ids([0])), x);
        });
        const p = reference.softmax(logits);
        expectClose(value.dataSync(), [expected], 1e-6, 'value');
        expectClose(
          grads.dataSync(),
          p.map((v, i) => (i === 0 ? 1 : 0) - v),
          1e-6,
          'gradient',
        );
        tf.dispose([value, grads]);
        expect(tf.memory().numTensors).toBe(before);
      });
    }
  });

  describe('headLogprob', () => {
    // Many blocks of rows and of columns, and sums over more than one part; the budget is less than one row, which engines without
    // blocks take one by one.
    const [rows, width, vocab] = engineName() === 'portable' ? [23, 31, 105] : [203, 261, 1051];
    it.each([
      ['tied', true],
      ['untied', false],
    ])('%s: the log-softmax of the logits', (_, tied) => {
      const states = gaussian([rows, width], 'states', 0.2);
      const head = gaussian(tied ? [vocab, width] : [width, vocab], 'head');
      const targets = Array.from({ length: rows }, (_, n) => (n * 1009) % vocab);
      const before = tf.memory().numTensors;
      const y = tf.tidy(() => {
        const weight = tf.tensor2d(head.values, head.shape as [number, number]);
        return ops.headLogprob(tf.tensor2d(states.values, [rows, width]), { weight, tied }, ids(targets), 1);
      });
      const columns = tied ? reference.transpose(head.values, width) : head.values;
      const logits = reference.matMul(states.values, columns, width);
      expectClose(y.dataSync(), reference.tokenLogprob(logits, vocab, targets), 1e-5, 'value');
      y.dispose();
      expect(tf.memory().numTensors).toBe(before);
    });

    /** As logits: one state of width 1, whose value is 1. */
    const ofRow = (logits: number[], id: number): number =>
      tf.tidy(() => {
        const weight = tf.tensor2d(logits, [1, logits.length]);
        return ops.headLogprob(tf.ones([1, 1]), { weight, tied: false }, ids([id])).dataSync()[0]!;
      });
    it.each(extremeRows)('extreme logits: %s', (_, logits, expected) => {
      expect(ofRow(logits, 0)).toBeCloseTo(expected, 6);
    });
    it('carries the largest logit on from block to block', () => {
      const far = new Array<number>(1500).fill(-Infinity);
      expect(ofRow([...far, 0, Math.log(3)], 1500)).toBeCloseTo(Math.log(0.25), 6);
      expect(ofRow([0, ...far, Math.log(3)], 0)).toBeCloseTo(Math.log(0.25), 6);
      expect(ofRow([1e4, ...far, -1e4], 1501)).toBe(-2e4);
      expect(ofRow([0, ...far, 1], 5)).toBe(-Infinity);
    });
    it('NaN anywhere is NaN', () => {
      const row = new Array<number>(1500).fill(0);
      expect(ofRow([...row, Number.NaN], 0)).toBeNaN();
      expect(ofRow([Number.NaN, ...row], 1400)).toBeNaN();
    });
    it('nothing asked, nothing given; shapes that do not fit are refused', () => {
      tf.tidy(() => {
        const head = { weight: tf.zeros<tf.Rank.R2>([4, 3]), tied: true };
        expect(ops.headLogprob(tf.zeros([0, 3]), head, ids([])).shape).toEqual([0]);
        expect(() => ops.headLogprob(tf.zeros([2, 4]), head, ids([0, 1]))).toThrow('headLogprob: weight');
        expect(() => ops.headLogprob(tf.zeros([2, 3]), head, ids([0]))).toThrow('headLogprob: ids');
      });
    });
  });

  const divergences = {
    reverseKl: [ops.reverseKl, (s: number[], t: number[]) => reference.kl(s, t, 5)],
    forwardKl: [ops.forwardKl, (s: number[], t: number[]) => reference.kl(t, s, 5)],
    crossEntropyToTeacher: [
      ops.crossEntropyToTeacher,
      (s: number[], t: number[]) => reference.softCrossEntropy(s, t, 5),
    ],
  } as const;
  for (const [name, [op, slow]] of Object.entries(divergences)) {
    describe(name, () => {
      const teacher = gaussian([4, 5], 'teacher', 2);
      it('value and gradient', () =>
        checkOp({
          inputs: { student: gaussian([4, 5], 'student', 2) },
          op: (p) => op(p.student as T2, tf.tensor2d(teacher.values, [4, 5])),
          reference: ({ student }) => slow(student!, teacher.values),
        }));
      it('no gradient reaches the teacher', () => {
        const grads = tf.tidy(() => {
          const student = tf.tensor2d(gaussian([4, 5], 'student').values, [4, 5]);
          const params = { teacher: tf.tensor2d(teacher.values, [4, 5]) };
          return valueAndGrads((p) => tf.sum(op(student, p.teacher as T2)), params).grads;
        });
        expect(Array.from(grads.teacher!.dataSync())).toEqual(new Array(20).fill(0));
        tf.dispose(grads);
      });
      it('refuses vocabularies of different sizes', () => {
        tf.tidy(() => {
          expect(() => op(tf.zeros([2, 5]), tf.zeros([2, 6]))).toThrow(
            `${name}: teacherLogits: shape [2, 6] found, [2, 5] expected`,
          );
        });
      });
      for (const [what, student, teacherRow] of maskedPairs) {
        it(`masked and extreme logits: ${what}`, () => {
          const { value, grads } = tf.tidy(() =>
            valueAndGradOf((s) => op(s, tf.tensor2d([teacherRow])), tf.tensor2d([student])),
          );
          expectClose(value.dataSync(), slow(student, teacherRow), 2e-6, 'value');
          const numeric = student.map((v, i) => {
            if (!Number.isFinite(v)) return 0;
            const h = 1e-5;
            const shifted = (by: number) => slow(student.with(i, v + by), teacherRow)[0]!;
            return (shifted(h) - shifted(-h)) / (2 * h);
          });
          expectClose(grads.dataSync(), numeric, 1e-3, 'gradient');
          tf.dispose([value, grads]);
        });
      }
    });
  }
  describe('expectation', () => {
    const x = gaussian([4, 5], 'numbers', 3);
    const slow = (z: number[]): number[] =>
      [0, 1, 2, 3].map((n) => {
        const row = z.slice(5 * n, 5 * n + 5).map(Math.exp);
        const sum = row.reduce((a, b) => a + b, 0);
        return row.reduce((total, e, v) => total + (e / sum) * x.values[5 * n + v]!, 0);
      });
    it('value and gradient', () =>
      checkOp({
        inputs: { logits: gaussian([4, 5], 'student', 2) },
        op: (p) => ops.expectation(p.logits as T2, tf.tensor2d(x.values, [4, 5])),
        reference: ({ logits }) => slow(logits!),
      }));
    it('literal: q = (1/4, 3/4), x = (8, 4): 5, gradient q (x − 5); a token that cannot be is not seen', () => {
      const { value, grads } = tf.tidy(() =>
        valueAndGradOf(
          (z) => ops.expectation(z, tf.tensor2d([[8, 4, 100]])),
          tf.tensor2d([[0, Math.log(3), -1e9]]),
        ),
      );
      // Rounding is that of the largest number, 100.
      expectClose(value.dataSync(), [5], 1e-5, 'value');
      expectClose(grads.dataSync(), [0.75, -0.75, 0], 1e-5, 'gradient');
      tf.dispose([value, grads]);
    });
    it('no gradient reaches the numbers; those that are 0 give none at all', () => {
      const grads = tf.tidy(() => {
        const logits = tf.tensor2d(gaussian([4, 5], 'student').values, [4, 5]);
        const params = { logits, x: tf.zeros([4, 5]) };
        return valueAndGrads((p) => tf.sum(ops.expectation(p.logits as T2, p.x as T2)), params).grads;
      });
      for (const grad of Object.values(grads))
        expect(Array.from(grad.dataSync(), Math.abs)).toEqual(new Array(20).fill(0));
      tf.dispose(grads);
      tf.tidy(() => {
        expect(() => ops.expectation(tf.zeros([2, 5]), tf.zeros([2, 6]))).toThrow('expectation: x');
      });
    });
  });

  it.each([true, false])('headRows, what a token is multiplied with; tied %s', (tied) => {
    tf.tidy(() => {
      const table = tf.tensor2d([1, 2, 3, 4, 5, 6], [3, 2]);
      const weight = tied ? table : tf.transpose(table);
      const rows = ops.headRows({ weight, tied }, ids([2, 0, 2]), 3);
      expect(rows.shape).toEqual([3, 2]);
      expect(Array.from(rows.dataSync())).toEqual([5, 6, 1, 2, 5, 6]);
    });
  });
  it('reverseKl, literal: q = (1/2, 1/2), p = (1/4, 3/4)', () => {
    const { value, grads } = tf.tidy(() =>
      valueAndGradOf((s) => ops.reverseKl(s, tf.tensor2d([[0, Math.log(3)]])), tf.tensor2d([[0, 0]])),
    );
    // ½ ln 2 + ½ ln(2/3); gradient ½ (ln 2 − KL) and its opposite.
    const kl = 0.5 * Math.log(2) + 0.5 * Math.log(2 / 3);
    expectClose(value.dataSync(), [kl], 1e-6, 'value');
    expectClose(grads.dataSync(), [0.5 * (Math.log(2) - kl), -0.5 * (Math.log(2) - kl)], 1e-6, 'gradient');
    tf.dispose([value, grads]);
  });
}

/** Rows whose token 0 has the stated log-probability. */
const extremeRows: [string, number[], number][] = [
  ['+1e4 against 0', [1e4, 0, 0], 0],
  ['0 against +1e4', [0, 1e4, 0], -1e4],
  ['-1e4 against +1e4', [-1e4, 1e4, 0], -2e4],
  ['everything at 1e4', [1e4, 1e4], -Math.LN2],
  ['masked by -Infinity', [0, -Infinity, 0], -Math.LN2],
  ['masked by -1e9', [0, -1e9, 0], -Math.LN2],
];

/** Student row, teacher row. Divergences of float64 are finite in all of them. */
const maskedPairs: [string, number[], number[]][] = [
  ['-Infinity in both', [1, 0, -Infinity, 2, -Infinity], [0, 1, -Infinity, 1, -Infinity]],
  ['-1e9 in both', [1, 0, -1e9, 2, -1e9], [0, 1, -1e9, 1, -1e9]],
  ['-Infinity in the student, -1e9 in the teacher', [1, 0, -Infinity, 2, 0], [0, 1, -1e9, 1, 0]],
  ['-1e9 in the student, -Infinity in the teacher', [1, 0, -1e9, 2, 0], [0, 1, -Infinity, 1, 0]],
  ['both sure of the same token', [1e4, 0, -1e4, 0, 0], [1e4, -1e4, 0, 0, 0]],
  ['a common shift of 1e4', [10001, 10002, 10000, 9999, 10000], [10000, 10001, 10002, 10000, 9999]],
];

function valueAndGradOf(f: (x: T2) => T1, x: T2): { value: T1; grads: tf.Tensor } {
  const { value, grad } = tf.valueAndGrad((y: T2) => f(y))(x, tf.onesLike(f(x)));
  return { value, grads: grad };
}
