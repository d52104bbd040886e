import * as tf from '@tensorflow/tfjs-core';
import { describe, expect, it } from 'vitest';
import { type FamilyName, newModelConfig } from '../../src/models/families.js';
import { forwardHidden, headLogits, initModel, type Model, withRecompute } from '../../src/models/model.js';
import { normal, stream } from '../../src/random/streams.js';
import { freeze, trains } from '../../src/tensor/frozen.js';
import { tokenLogprob } from '../../src/tensor/ops/index.js';
import { disposeParams, type Params, valueAndGrads } from '../../src/tensor/params.js';
import { flatParams, tinyWorld } from '../helpers/training.js';
import { expectClose } from '../tensor/gradcheck.js';

const [VOCAB, WIDTH, BATCH, LENGTH] = [30, 16, 3, 12];

function small(family: FamilyName, layers = 2, tiedHead = true): Model {
  const grouped = family !== 'gpt2' && family !== 'opt';
  const config = newModelConfig(family, {
    ...{ vocabSize: VOCAB, hiddenSize: WIDTH, layers, heads: 4, maxPositions: LENGTH, tiedHead },
    ...(grouped && { kvHeads: 2 }),
  });
  return initModel({ ...config, initStd: 0.3 }, 5);
}

/** Mean cross-entropy of one token after the other. @param held told what the tape holds once the loss is there */
function loss({ config }: Model, params: Params, held: (bytes: number) => void = () => {}): tf.Scalar {
  const ids = Int32Array.from({ length: BATCH * LENGTH }, (_, i) => (i * 7 + 3) % VOCAB);
  const targets = tf.tensor1d(
    ids.map((id) => (id * 5 + 1) % VOCAB),
    'int32',
  );
  const result = tf.tidy(() => {
    const logits = headLogits(params, config, forwardHidden(params, config, ids, BATCH, LENGTH));
    return tf.neg(tf.mean(tokenLogprob(logits, targets))) as tf.Scalar;
  });
  held(bytesOnTape(params));
  return result;
}

/** What is kept for the backward pass, each piece of memory once; the parameters, which are there anyway, are left out. */
function bytesOnTape(params: Params): number {
  const { activeTape } = (
    tf.engine() as unknown as { state: { activeTape: { saved?: tf.Tensor[] }[] | null } }
  ).state;
  const seen = new Set<object>(Object.values(params).map(({ dataId }) => dataId));
  let bytes = 0;
  for (const { dataId, size } of activeTape?.flatMap(({ saved }) => saved ?? []) ?? []) {
    if (!seen.has(dataId)) bytes += 4 * size;
    seen.add(dataId);
  }
  return bytes;
}

interface Result {
  value: number;
  grads: Record<string, Float32Array>;
  held: number;
}

/** @param trained the parameters that the gradient is of; default: all */
function differentiate(plain: Model, recompute: boolean, trained: Params = plain.params): Result {
  const model = withRecompute(plain, recompute);
  const before = tf.memory().numTensors;
  let held = 0;
  const { value, grads } = valueAndGrads(
    (p) =>
      loss(model, { ...model.params, ...p }, (bytes) => {
        held = bytes;
      }),
    trained,
  );
  const result = {
    value: value.dataSync()[0]!,
    grads: Object.fromEntries(
      Object.entries(grads).map(([name, g]) => [name, g.dataSync<'float32'>().slice()]),
    ),
    held,
  };
  value.dispose();
  disposeParams(grads);
  expect(tf.memory().numTensors, 'tensors left behind').toBe(before);
  return result;
}

/** Gradient checkpointing, the same suite for every backend; `initBackend` must have run. */
export function recomputeSuite(): void {
  const models: [string, () => Model][] = [
    ['gpt2, tied head', () => small('gpt2')],
    ['gpt2, own head', () => small('gpt2', 2, false)],
    ['gpt2, scores scaled by layer', () => withScales(small('gpt2'))],
    ['opt', () => small('opt')],
    ['llama, tied head', () => small('llama')],
    ['llama, own head', () => small('llama', 2, false)],
    ['qwen2', () => small('qwen2')],
    ['qwen3', () => small('qwen3')],
    ['llama, more than ten layers', () => small('llama', 12)],
  ];

  describe('loss and the gradient of every parameter are the same, bit for bit', () => {
    it.each(models)('%s', (_, make) => {
      const model = make();
      const without = differentiate(model, false);
      const found = differentiate(model, true);
      expect(found.value).toBe(without.value);
      expect(found.grads).toEqual(without.grads);
      expect(Object.values(found.grads).every((g) => g.some((x) => x !== 0))).toBe(true);
      disposeParams(model.params);
    });
  });

  describe('of what is frozen no gradient is made, and the others are the same', () => {
    it.each(models)('%s', (_, make) => {
      const [all, some] = [make(), make()];
      const { value, grads } = differentiate(all, false);
      for (const [i, tensor] of Object.values(some.params).entries()) if (i % 3 > 0) freeze(tensor);
      const left = Object.fromEntries(Object.entries(some.params).filter(([, tensor]) => trains(tensor)));
      for (const recompute of [false, true]) {
        const found = differentiate(some, recompute, left);
        expect(found.value).toBe(value);
        expect(Object.keys(found.grads)).toEqual(Object.keys(grads).filter((_, i) => i % 3 === 0));
        for (const [name, g] of Object.entries(found.grads)) expectClose(g, grads[name]!, 1e-5, name);
      }
      disposeParams(all.params);
      disposeParams(some.params);
    });
  });

  // Not opt: a difference across the kinks of its ReLU is no slope.
  it.each(['gpt2', 'llama'] as const)('%s: the gradient is the slope of the loss', (family) => {
    const model = withRecompute(small(family), true);
    const { grads } = differentiate(model, true);
    const rng = stream(3, 'directions');
    const direction = Object.fromEntries(
      Object.entries(grads).map(([name, g]) => [name, Float32Array.from(g, () => normal(rng))]),
    );
    const slope = Object.entries(grads).reduce(
      (sum, [name, g]) => sum + g.reduce((s, x, i) => s + x * direction[name]![i]!, 0),
      0,
    );
    const at = (by: number): number =>
      tf.tidy(() => {
        const moved = Object.entries(model.params).map(([name, p]) => [
          name,
          tf.add(p, tf.mul(tf.tensor(direction[name]!, p.shape), by)),
        ]);
        return loss(model, Object.fromEntries(moved)).dataSync()[0]!;
      });
    const h = 1e-3;
    expect(Math.abs((at(h) - at(-h)) / (2 * h) - slope)).toBeLessThan(1e-2 * (1 + Math.abs(slope)));
    disposeParams(model.params);
  });

  describe('between forward and backward pass', () => {
    it.each(['gpt2', 'opt', 'llama'] as const)('%s: of a layer only its input is kept', (family) => {
      const [few, many] = [small(family, 2), small(family, 6)];
      const input = 4 * BATCH * LENGTH * WIDTH;
      const perLayer = (on: boolean): number =>
        (differentiate(many, on).held - differentiate(few, on).held) / 4;
      expect(perLayer(true)).toBeGreaterThanOrEqual(input);
      // wasm copies what is saved, the rotary angles too: [N, Dh], Dh a quarter of the width.
      expect(perLayer(true)).toBeLessThanOrEqual(1.25 * input);
      expect(perLayer(false)).toBeGreaterThan(10 * input);
      disposeParams(few.params);
      disposeParams(many.params);
    });

    it('outside differentiation the switch changes nothing and keeps nothing', () => {
      const model = small('gpt2');
      const before = tf.memory().numTensors;
      const values = [false, true].map((on) => {
        const x = tf.tidy(() => loss(withRecompute(model, on), model.params));
        const value = x.dataSync()[0]!;
        x.dispose();
        return value;
      });
      expect(values[1]).toBe(values[0]);
      expect(tf.memory().numTensors).toBe(before);
      disposeParams(model.params);
    });
  });

  describe('three training steps give the same student, bit for bit, and leave nothing behind', () => {
    const value = { objective: { preset: 'lmops', baseline: 'value', lm_coef: 1 }, rollout: { rollouts: 8 } };
    const methods: [string, Record<string, unknown> & { method: string }][] = [
      ['sft', { method: 'sft' }],
      ['babyllama', { method: 'babyllama' }],
      ['minillm with a value head, pretraining rows and micro-batches', { method: 'minillm', ...value }],
    ];
    it.each(methods)('%s', async (_, fields) => {
      const student = async (gradient_checkpointing: boolean): Promise<Float64Array> => {
        const before = tf.memory().numTensors;
        const world = tinyWorld({
          config: {
            ...fields,
            train: { steps: 3, batch_size: 4, micro_batch_size: 2, gradient_checkpointing },
          },
          student: { layers: 2 },
          corpus: fields.method === 'minillm' ? 8 : 0,
        });
        await world.run();
        const params = flatParams(world.state);
        world.dispose();
        expect(tf.memory().numTensors).toBe(before);
        return params;
      };
      expect(await student(true)).toEqual(await student(false));
    });
  });
}

function withScales({ config, params }: Model): Model {
  return { params, config: { ...config, scoreScales: [1, 0.5] } };
}
