import * as tf from '@tensorflow/tfjs-core';
import { expect, it } from 'vitest';
import { disposeState } from '../../src/optim/state.js';
import { normal, stream } from '../../src/random/streams.js';
import { disposeParams, type Params } from '../../src/tensor/params.js';
import {
  actionValues,
  type DrawnFeatures,
  drawnFeatures,
  newActionHead,
  predictDrawn,
  trainActionHead,
} from '../../src/training/actionHead.js';
import {
  newValueHead,
  predictValues,
  trainValueHead,
  type ValueFeatures,
  valueFeatures,
  valueLoss,
} from '../../src/training/valueHead.js';
import { tinyModel } from '../helpers/models.js';
import { expectClose } from '../tensor/gradcheck.js';

const options = { lr: 0.1, steps: 150 };

/** Hidden states of three responses of 2, 1 and 3 tokens, and the returns that a known head says of them. */
function known(): { features: ValueFeatures; hidden: number[][]; returns: Float64Array[]; target: number[] } {
  const rng = stream(1, 'value head');
  const hidden = Array.from({ length: 6 }, () => [normal(rng), normal(rng), normal(rng)]);
  const target = [0.5, -1, 2, 0.25]; // weight and bias
  const say = (h: number[]): number => h.reduce((sum, x, i) => sum + x * target[i]!, target[3]!);
  const values = hidden.map(say);
  const sequences = [2, 1, 3].map((n) => ({ promptIds: [1], responseIds: new Array<number>(n).fill(2) }));
  return {
    features: { sequences, hidden: tf.tensor2d(hidden) },
    hidden,
    returns: [values.slice(0, 2), values.slice(2, 3), values.slice(3)].map((x) => Float64Array.from(x)),
    target,
  };
}

export function valueHeadSuite(): void {
  it('begins with 0 everywhere', () => {
    const { features } = known();
    const head = newValueHead(3, options);
    expect([...predictValues(head, features).values()].map((x) => Array.from(x))).toEqual([
      [0, 0],
      [0],
      [0, 0, 0],
    ]);
    disposeState(head);
    features.hidden.dispose();
  });

  it('loss and gradient are those of the closed form', () => {
    const { features, hidden, returns } = known();
    const params: Params = { weight: tf.tensor2d([[0.3], [0.1], [-0.2]]), bias: tf.tensor1d([0.4]) };
    const { loss, grads } = valueLoss(params, features, returns);
    const errors = hidden.map(
      (h, n) => 0.3 * h[0]! + 0.1 * h[1]! - 0.2 * h[2]! + 0.4 - returns.flatMap((x) => [...x])[n]!,
    );
    expect(loss).toBeCloseTo(errors.reduce((sum, e) => sum + e * e, 0) / 6, 4);
    const weight = [0, 1, 2].map((i) => errors.reduce((sum, e, n) => sum + 2 * e * hidden[n]![i]!, 0) / 6);
    expectClose(grads.weight!.dataSync(), weight, 1e-5, 'weight');
    expectClose(grads.bias!.dataSync(), [errors.reduce((sum, e) => sum + 2 * e, 0) / 6], 1e-5, 'bias');
    disposeParams(params);
    disposeParams(grads);
    features.hidden.dispose();
  });

  it('reaches a linear target, and leaves no tensor behind', () => {
    const before = tf.memory().numTensors;
    const { features, returns, target } = known();
    const head = trainValueHead(newValueHead(3, options), [features], [returns], options);
    const found = [...head.params.weight!.dataSync(), ...head.params.bias!.dataSync()];
    expectClose(found, target, 1e-2, 'weight and bias');
    expect(head.optimizer.adam.count).toBe(150);
    disposeState(head);
    features.hidden.dispose();
    expect(tf.memory().numTensors).toBe(before);
  });

  it('a head of actions: begins with 0, learns by what 16 tokens count for, and speaks as before meanwhile', () => {
    const before = tf.memory().numTensors;
    // Two tokens with features that share nothing: D of the first is M_11 · 2 · 1, of the second M_22 · 1 · 3.
    const features: DrawnFeatures = {
      hidden: tf.tensor2d([
        [2, 0],
        [0, 1],
      ]),
      drawn: tf.tensor2d([
        [1, 0],
        [0, 3],
      ]),
    };
    const head = trainActionHead(newActionHead(2), [features], [[Float64Array.of(5, -4)]]);
    expect(Array.from(predictDrawn(head.acting, features))).toEqual([0, 0]);
    // m = (4 + 9)/2; M_11 = 2 · 5/(4 + 16 m), M_22 = 3 · (−4)/(9 + 16 m), both exact after two steps.
    const [first, second] = [10 / 108, -12 / 113];
    expectClose(head.params.weight!.dataSync(), [first, 0, 0, second], 1e-5, 'M');
    const again = trainActionHead(head, [features], [[Float64Array.of(5, -4)]]);
    expectClose(predictDrawn(again.acting, features), [2 * first, 3 * second], 1e-5, 'acting');
    const more = first + (2 * (5 - 2 * first)) / 108;
    expect(again.params.weight!.dataSync()[0]).toBeCloseTo(more, 5);
    disposeState(again);
    // Nothing to learn, nothing learned.
    const still = trainActionHead(newActionHead(2), [features], [[new Float64Array(2)]]);
    expectClose(still.params.weight!.dataSync(), [0, 0, 0, 0], 0, 'still');
    disposeState(still);
    tf.dispose([features.hidden, features.drawn]);
    expect(tf.memory().numTensors).toBe(before);
  });

  it.each(['llama', 'gpt2'] as const)('D of the drawn tokens is that of all actions there: %s', (family) => {
    const student = tinyModel(1, { family, tied: family === 'gpt2' });
    const responses = [
      { promptIds: [3, 4], responseIds: [5, 6, 0] },
      { promptIds: [3], responseIds: [4, 0] },
    ];
    const features = valueFeatures(student, responses);
    const own = drawnFeatures(student, features);
    const width = student.config.hiddenSize;
    const values = Array.from({ length: width * width }, (_, i) => Math.sin(i));
    const params = { weight: tf.tensor2d(values, [width, width]) };
    const all = tf.tidy(() =>
      actionValues(params, student.params, student.config, features.hidden).arraySync(),
    );
    const ids = features.sequences.flatMap(({ responseIds }) => Array.from(responseIds));
    const expected = ids.map((id, n) => all[n]![id]!);
    expectClose(predictDrawn(params, own), expected, 1e-4, 'D');
    expect(Math.max(...expected.map(Math.abs))).toBeGreaterThan(1e-3);
    tf.dispose([features.hidden, own.drawn, params]);
    disposeParams(student.params);
  });

  it('sees the state before each response token, whatever the micro-batches', () => {
    const student = tinyModel(1);
    const responses = [
      { promptIds: [3, 4], responseIds: [5, 6, 0] },
      { promptIds: [3], responseIds: [4, 0] },
      { promptIds: [3, 4], responseIds: [5, 7] },
    ];
    const before = tf.memory().numTensors;
    const whole = valueFeatures(student, responses);
    const cut = valueFeatures(student, responses, 1);
    const byResponse = ({ sequences, hidden }: ValueFeatures): number[][] => {
      const rows = hidden.arraySync();
      let at = 0;
      const own = new Map(
        sequences.map((s) => {
          at += s.responseIds.length;
          return [s, rows.slice(at - s.responseIds.length, at).flat()];
        }),
      );
      return responses.map((r) => own.get(r)!);
    };
    const [a, b] = [byResponse(whole), byResponse(cut)];
    for (const [i, x] of a.entries()) expectClose(b[i]!, x, 1e-5, `response ${i}`);
    // The first states of the first and the last are the same prompt, the second the same token after it.
    const width = student.config.hiddenSize;
    expectClose(a[2]!, a[0]!.slice(0, 2 * width), 1e-5, 'equal states');
    expect(a[1]!.slice(0, width)).not.toEqual(a[0]!.slice(0, width));
    tf.dispose([whole.hidden, cut.hidden]);
    expect(tf.memory().numTensors).toBe(before);
    disposeParams(student.params);
  });
}
