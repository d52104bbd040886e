import * as tf from '@tensorflow/tfjs-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Model } from '../../src/models/model.js';
import { integer, permutation, stream } from '../../src/random/streams.js';
import { type Prompt, type RolloutOptions, rollout } from '../../src/rollout/engine.js';
import { plainSampling } from '../../src/rollout/sampling.js';
import type { Trajectory } from '../../src/rollout/trajectory.js';
import { responseStream } from '../../src/rollout/uniforms.js';
import { drawTokenReference } from '../../src/tensor/engines/portable/draw.js';
import { disposeParams } from '../../src/tensor/params.js';
import { tinyModel } from '../helpers/models.js';
import { logSoftmax, maxDifference, referenceReader } from '../helpers/referenceModel.js';

const VOCAB = 40;
const EOS = 7;

/** The rollout engine against float64 teacher forcing; the same suite for every backend, `initBackend` must have run. */
export function rolloutSuite(options: { bitwise: boolean }): void {
  let student: Model;
  let teacher: Model;
  let readStudent: ReturnType<typeof referenceReader>;
  let readTeacher: ReturnType<typeof referenceReader>;
  beforeAll(() => {
    student = tinyModel(1, { vocab: VOCAB });
    // Another family, and padded to another vocabulary, as checkpoints of one tokenizer may be.
    teacher = tinyModel(2, { family: 'gpt2', vocab: VOCAB + 3, positions: 28 });
    readStudent = referenceReader(student);
    readTeacher = referenceReader(teacher);
  });
  afterAll(() => {
    disposeParams(student.params);
    disposeParams(teacher.params);
  });

  const settings = (change: Partial<RolloutOptions> = {}): RolloutOptions => ({
    ...plainSampling,
    samples: 2,
    maxNewTokens: 8,
    eosIds: [EOS],
    seed: 5,
    round: 3,
    batchSize: 8,
    policyVersion: 11,
    ...change,
  });

  /** q and p over the shared vocabulary at every state of a response, by the slow model. */
  function states(t: Trajectory, temperature: number) {
    const ids = [...t.promptIds, ...t.responseIds];
    const at = (read: typeof readStudent): number[][] =>
      read(ids)
        .slice(t.promptIds.length - 1, ids.length - 1)
        .map((logits) => logits.slice(0, VOCAB));
    const teacherLogits = at(readTeacher);
    return at(readStudent).map((logits, k) => ({
      logq: logSoftmax(logits.map((x) => x / temperature)),
      logp: logSoftmax(teacherLogits[k]!),
      logpAtTemperature: logSoftmax(teacherLogits[k]!.map((x) => x / temperature)),
    }));
  }

  describe.each([
    { alpha: 0, temperature: 1 },
    { alpha: 0.3, temperature: 1 },
    { alpha: 0.3, temperature: 0.7 },
    { alpha: 1, temperature: 1 },
  ])('α = $alpha, temperature $temperature', ({ alpha, temperature }) => {
    it('records what a full teacher-forced pass in float64 finds, and draws the token that inversion gives', () => {
      const before = tf.memory().numTensors;
      const found = rollout(student, prompts(6), {
        ...settings({ temperature, samples: 3 }),
        teacher: { model: teacher, alpha },
      });
      expect(tf.memory().numTensors).toBe(before);
      expect(found.map((t) => [t.promptIndex, t.sample])).toEqual(
        prompts(6).flatMap((p) => [0, 1, 2].map((sample) => [p.index, sample])),
      );
      let tokens = 0;
      for (const t of found) {
        const uniforms = responseStream('independent', {
          seed: 5,
          round: 3,
          promptIndex: t.promptIndex,
          sample: t.sample,
          samples: 1,
        }).rng;
        states(t, temperature).forEach(({ logq, logp, logpAtTemperature }, k) => {
          const y = t.responseIds[k]!;
          const mixture = logq.map(
            (lq, v) => alpha * Math.exp(logpAtTemperature[v]!) + (1 - alpha) * Math.exp(lq),
          );
          const kl = logq.reduce((sum, lq, v) => sum + Math.exp(lq) * (lq - logp[v]!), 0);
          expectNear(t.studentLogprobs[k]!, logq[y]!);
          expectNear(t.teacherLogprobs![k]!, logp[y]!);
          expectNear(t.behaviorLogprobs[k]!, Math.log(mixture[y]!));
          expectNear(t.kl![k]!, kl);
          expectNear(t.entropy[k]!, -logq.reduce((sum, lq) => sum + Math.exp(lq) * lq, 0));
          expectNear(
            t.collision[k]!,
            logq.reduce((sum, lq) => sum + Math.exp(lq) ** 2, 0),
          );
          expect(drawTokenReference(mixture, uniforms())).toBe(y);
          const weight = Math.exp(t.studentLogprobs[k]! - t.behaviorLogprobs[k]!);
          expect(weight).toBeGreaterThan(0);
          if (alpha === 0) expect(weight).toBe(1);
          else if (alpha < 1) expect(weight).toBeLessThanOrEqual((1 + 1e-5) / (1 - alpha));
          tokens++;
        });
        expect(t.streamKey).toBe(`5/rollout/3/${t.promptIndex}/${t.sample}`);
        expect(t.policyVersion).toBe(11);
      }
      expect(tokens).toBeGreaterThan(60);
      for (const p of prompts(6)) {
        const own = found.filter((t) => t.promptIndex === p.index).map((t) => t.responseIds.join());
        expect(new Set(own).size, 'samples of one prompt differ').toBeGreaterThan(1);
      }
    });
  });

  it('a response ends with the first EOS, or at the length limit', () => {
    const found = rollout(student, prompts(12), settings({ maxNewTokens: 20, samples: 2 }));
    for (const t of found) {
      const eos = t.responseIds.indexOf(EOS);
      expect(t.finished).toBe(eos >= 0);
      expect(t.responseIds.length).toBe(eos >= 0 ? eos + 1 : 20);
      expect(t.teacherLogprobs).toBeUndefined();
      expect(t.kl).toBeUndefined();
    }
    const lengths = found.map((t) => t.responseIds.length);
    expect(Math.min(...lengths)).toBeLessThan(20);
    expect(Math.max(...lengths)).toBe(20);
    const endless = rollout(student, prompts(4), settings({ eosIds: [], maxNewTokens: 12 }));
    expect(endless.map((t) => [t.responseIds.length, t.finished])).toEqual(endless.map(() => [12, false]));
    // Until the end token the two are the same response.
    const same = rollout(student, prompts(4), settings({ maxNewTokens: 12 }));
    same.forEach((t, i) => {
      expect(Array.from(t.responseIds)).toEqual(
        Array.from(endless[i]!.responseIds.slice(0, t.responseIds.length)),
      );
    });
  });

  it('the context of the smaller model is the limit too', () => {
    const ids = Array.from({ length: 25 }, (_, i) => i);
    const [t] = rollout(student, [{ index: 0, ids }], {
      ...settings({ samples: 1, maxNewTokens: 50, eosIds: [] }),
      teacher: { model: teacher, alpha: 0.5 },
    });
    expect(t!.responseIds.length).toBe(28 - 25);
    expect(t!.finished).toBe(false);
  });

  it('greedy: the most probable token of full passes, certain of itself', () => {
    const found = rollout(student, prompts(5), settings({ greedy: true, samples: 1 }));
    for (const t of found) {
      states(t, 1).forEach(({ logq }, k) => {
        expect(t.responseIds[k]).toBe(logq.indexOf(Math.max(...logq)));
      });
      expect(Array.from(t.behaviorLogprobs)).toEqual(Array.from(t.responseIds, () => 0));
    }
    const mixed = rollout(student, prompts(5), {
      ...settings({ greedy: true, samples: 1 }),
      teacher: { model: teacher, alpha: 1 },
    });
    for (const t of mixed) {
      states(t, 1).forEach(({ logp }, k) => {
        expect(t.responseIds[k]).toBe(logp.indexOf(Math.max(...logp)));
      });
    }
  });

  it.each([
    { topK: 3, topP: 1 },
    { topK: 0, topP: 0.6 },
    { topK: 5, topP: 0.5 },
  ])(
    'top-k $topK, top-p $topP: draws from what is kept, renormalised; q and p stay whole',
    ({ topK, topP }) => {
      const alpha = 0.25;
      const found = rollout(student, prompts(5), {
        ...settings({ topK, topP, temperature: 1.3 }),
        teacher: { model: teacher, alpha },
      });
      for (const t of found) {
        states(t, 1.3).forEach(({ logq, logp, logpAtTemperature }, k) => {
          const y = t.responseIds[k]!;
          const mixture = logq.map(
            (lq, v) => alpha * Math.exp(logpAtTemperature[v]!) + (1 - alpha) * Math.exp(lq),
          );
          const kept = slowCut(mixture, topK, topP);
          expect(kept).toContain(y);
          const mass = kept.reduce((sum, v) => sum + mixture[v]!, 0);
          expect(t.behaviorLogprobs[k]).toBeCloseTo(Math.log(mixture[y]! / mass), 5);
          expect(t.studentLogprobs[k]).toBeCloseTo(logq[y]!, 5);
          expect(t.teacherLogprobs![k]).toBeCloseTo(logp[y]!, 5);
        });
      }
    },
  );

  describe('no result depends on batching or order', () => {
    const many = (change: Partial<RolloutOptions>, order = prompts(13)): Map<string, Trajectory> => {
      const found = rollout(student, order, {
        ...settings({ maxNewTokens: 10, samples: 3, ...change }),
        teacher: { model: teacher, alpha: 0.2 },
      });
      return new Map(found.map((t) => [t.streamKey, t]));
    };

    let one: Map<string, Trajectory>;
    beforeAll(() => {
      one = many({ batchSize: 1 });
    });

    it.each([8, 32])('batches of %i are answered as batches of 1', (batchSize) => {
      expectSame(one, many({ batchSize }));
    });

    it('shuffled prompts, and a subset of them', () => {
      const all = prompts(13);
      const shuffled = Array.from(permutation(13, stream(1, 'shuffle')), (i) => all[i]!);
      expectSame(one, many({ batchSize: 8 }, shuffled));
      expectSame(one, many({ batchSize: 8 }, shuffled.slice(0, 4)));
    });

    it('the first two of five samples are the two of two', () => {
      const five = many({ samples: 5 }, prompts(4));
      expectSame(five, many({ samples: 2 }, prompts(4)));
      expect(five.size).toBe(20);
    });

    /** Every response of `some` is in `all`, the same. */
    function expectSame(all: Map<string, Trajectory>, some: Map<string, Trajectory>): void {
      for (const [key, t] of some) {
        const twin = all.get(key)!;
        if (!options.bitwise && endsInTie(t, twin)) continue;
        expect(Array.from(t.responseIds), key).toEqual(Array.from(twin.responseIds));
        for (const name of [
          'studentLogprobs',
          'teacherLogprobs',
          'behaviorLogprobs',
          'kl',
          'entropy',
          'collision',
        ] as const) {
          const [found, expected] = [Array.from(t[name]!), Array.from(twin[name]!)];
          if (options.bitwise) expect(found, name).toEqual(expected);
          else expect(maxDifference(found, expected), name).toBeLessThan(1e-5);
        }
      }
    }

    /**
     * Matrix products of other sizes add up in another order there, so probabilities differ by some 1e-7. Two
     * responses may part only where the uniform number lies that close to a step of the cumulative distribution.
     */
    function endsInTie(a: Trajectory, b: Trajectory): boolean {
      const k = a.responseIds.findIndex((id, i) => id !== b.responseIds[i]);
      if (k < 0) return false;
      const { rng } = responseStream('independent', {
        seed: 5,
        round: 3,
        promptIndex: a.promptIndex,
        sample: a.sample,
        samples: 1,
      });
      for (let i = 0; i < k; i++) rng();
      const uniform = rng();
      const { logq, logp } = states(a, 1)[k]!;
      let sum = 0;
      const steps = logq.map((lq, v) => (sum += 0.2 * Math.exp(logp[v]!) + 0.8 * Math.exp(lq)));
      const tie = steps.some((s) => Math.abs(s - uniform) < 1e-5);
      expect(tie, `${a.streamKey} parts at token ${k} without a tie`).toBe(true);
      return tie;
    }
  });

  it('names the prompt that cannot be answered', () => {
    const one = (ids: number[], change: Partial<RolloutOptions> = {}) =>
      rollout(student, [{ index: 4, ids }], settings(change));
    expect(() => one([])).toThrow('prompt 4 has no tokens');
    expect(() => one(new Array(32).fill(1))).toThrow('prompt 4 has 32 tokens, which fills the model');
    expect(() => one([1, VOCAB])).toThrow(
      `prompt 4 holds the token id ${VOCAB}, outside the vocabulary of ${VOCAB}`,
    );
    expect(() => one([-1])).toThrow('prompt 4 holds the token id -1');
    const before = tf.memory().numTensors;
    expect(() =>
      rollout(teacher, [{ index: 4, ids: [VOCAB] }], {
        ...settings(),
        teacher: { model: student, alpha: 0 },
      }),
    ).toThrow(`outside the vocabulary of ${VOCAB}`);
    expect(tf.memory().numTensors).toBe(before);
    expect(rollout(student, [], settings())).toEqual([]);
  });

  it('draws no id beyond a vocabulary it is told', () => {
    const found = rollout(teacher, prompts(6), settings({ vocabSize: 5, eosIds: [], samples: 4 }));
    const ids = new Set(found.flatMap((t) => Array.from(t.responseIds)));
    expect([...ids].sort()).toEqual([0, 1, 2, 3, 4]);
  });
}

/** Prompts of 1 to 6 tokens whose indices are not their places. */
function prompts(count: number): Prompt[] {
  const rng = stream(4, 'prompts');
  return Array.from({ length: count }, (_, i) => ({
    index: 3 * i + 2,
    ids: Array.from({ length: 1 + (i % 6) }, () => integer(rng, VOCAB)),
  }));
}

function slowCut(probabilities: readonly number[], topK: number, topP: number): number[] {
  const order = probabilities.map((_, v) => v).sort((a, b) => probabilities[b]! - probabilities[a]!);
  const first = topK > 0 ? order.slice(0, topK) : order;
  const mass = first.reduce((sum, v) => sum + probabilities[v]!, 0);
  const kept: number[] = [];
  for (const v of first) {
    if (kept.reduce((sum, w) => sum + probabilities[w]!, 0) >= topP * mass) break;
    kept.push(v);
  }
  return kept;
}

/** Within 1e-5, relative above 1: what float32 leaves of a logit after two layers. */
function expectNear(found: number, expected: number): void {
  expect(Math.abs(found - expected), `${found}, ${expected} expected`).toBeLessThan(
    1e-5 * Math.max(1, Math.abs(expected)),
  );
}
