import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import * as tf from '@tensorflow/tfjs-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Model } from '../../src/models/model.js';
import { normal, stream } from '../../src/random/streams.js';
import { type Prompt, rollout } from '../../src/rollout/engine.js';
import { logitEdits } from '../../src/rollout/logitEdits.js';
import { nextTokens } from '../../src/rollout/nextToken.js';
import { plainSampling, type SamplingOptions } from '../../src/rollout/sampling.js';
import { responseStream } from '../../src/rollout/uniforms.js';
import { drawTokenReference } from '../../src/tensor/engines/portable/draw.js';
import { disposeParams } from '../../src/tensor/params.js';
import { tinyModel } from '../helpers/models.js';
import { logSoftmax, referenceReader } from '../helpers/referenceModel.js';
import { drawnFrom } from './sampling.reference.js';

interface Case {
  settings: Record<
    'repetition_penalty' | 'no_repeat_ngram' | 'temperature' | 'top_k' | 'top_p' | 'min_p',
    number | undefined
  >;
  ids: number[];
  logits: number[];
  probabilities: number[];
}

/** Made by test/fixtures/sampling/make.py with the logits processors of `transformers`. */
const { cases } = JSON.parse(
  readFileSync(fileURLToPath(new URL('../fixtures/sampling/cases.json', import.meta.url)), 'utf8'),
) as { cases: Case[] };

const samplingOf = ({ settings: s }: Case): SamplingOptions => ({
  ...plainSampling,
  temperature: s.temperature ?? 1,
  topK: s.top_k ?? 0,
  topP: s.top_p ?? 1,
  minP: s.min_p ?? 0,
  repetitionPenalty: s.repetition_penalty ?? 1,
  noRepeatNgram: s.no_repeat_ngram ?? 0,
});
const slot = (ids: readonly number[], split: number) => ({
  prompt: { index: 0, ids: ids.slice(0, split) },
  tokens: ids.slice(split),
});

/**
 * Penalties, forbidden n-grams and min-p; the same suite for every backend, `initBackend` must have run.
 *
 * @param stride of the cases, on an engine that takes long
 */
export function processorsSuite(stride = 1): void {
  const uniforms = [0.001, 0.2, 0.4, 0.6, 0.8, 0.999];

  it.each(cases.filter((_, i) => i % stride === 0))('as transformers: $settings after $ids', (one) => {
    const vocab = one.logits.length;
    const options = samplingOf(one);
    const rows = uniforms.map(() => slot(one.ids, 1));
    const edits = logitEdits(rows, options, vocab);
    const before = tf.memory().numTensors;
    const logits = tf.tensor2d(
      uniforms.flatMap(() => one.logits),
      [uniforms.length, vocab],
    );
    const drawn = nextTokens(logits, undefined, uniforms, options, vocab, edits);
    logits.dispose();
    expect(tf.memory().numTensors).toBe(before);
    const slow = drawnFrom(one.logits, undefined, one.ids, options);
    slow.forEach((x, v) => {
      expect(Math.abs(x - one.probabilities[v]!), `reference, token ${v}`).toBeLessThan(1e-12);
    });
    const logq = logSoftmax(one.logits.map((x) => x / options.temperature));
    uniforms.forEach((u, b) => {
      const token = drawn.tokens[b]!;
      expect(token).toBe(drawTokenReference(one.probabilities, u));
      expect(drawn.behaviorLogprobs[b]).toBeCloseTo(Math.log(one.probabilities[token]!), 5);
      // What is recorded of q is the plain distribution's.
      expect(drawn.studentLogprobs[b]).toBeCloseTo(logq[token]!, 5);
      expect(drawn.entropy[b]).toBeCloseTo(-logq.reduce((sum, l) => sum + Math.exp(l) * l, 0), 5);
    });
  });

  it('literal numbers: a penalty of 2, and min-p 0.5 of what is left', () => {
    // ln 8, ln 4, ln 1/2, ln 1/4: penalised they are √8, √4, 1/4, 1/16.
    const logits = tf.tensor2d([Math.log(8), Math.log(4), Math.log(0.5), Math.log(0.25)], [1, 4]);
    const draw = (options: Partial<SamplingOptions>, seen: number[], u: number) => {
      const all = { ...plainSampling, ...options };
      return nextTokens(logits, undefined, [u], all, 4, logitEdits([slot(seen, 1)], all, 4));
    };
    const whole = Math.sqrt(8) + 4 + 0.5 + 1 / 16;
    const first = draw({ repetitionPenalty: 2 }, [0, 3, 0], 0);
    expect([first.tokens[0], first.studentLogprobs[0]]).toEqual([0, expect.closeTo(Math.log(8 / 12.75), 6)]);
    expect(first.behaviorLogprobs[0]).toBeCloseTo(Math.log(Math.sqrt(8) / whole), 6);
    const last = draw({ repetitionPenalty: 2 }, [0, 3, 0], 0.9999);
    expect(last.behaviorLogprobs[0]).toBeCloseTo(Math.log(1 / 16 / whole), 6);
    const kept = draw({ repetitionPenalty: 2, minP: 0.5 }, [0, 3, 0], 0.9999);
    expect(kept.tokens[0]).toBe(1); // √8 is more than half of 4
    expect(kept.behaviorLogprobs[0]).toBeCloseTo(Math.log(4 / (4 + Math.sqrt(8))), 6);
    const greedy = draw({ repetitionPenalty: 2, greedy: true }, [0, 3, 0], 0);
    expect([greedy.tokens[0], greedy.behaviorLogprobs[0]]).toEqual([1, 0]);
    const once = draw({ noRepeatNgram: 1, greedy: true }, [0, 1], 0);
    expect(once.tokens[0]).toBe(2);
    logits.dispose();
  });

  it('a row without an edit is drawn as if there were none, to the bit', () => {
    const rng = stream(3, 'rows');
    const logits = tf.tensor2d(
      Float32Array.from({ length: 3 * 40 }, () => 2 * normal(rng)),
      [3, 40],
    );
    const all = { ...plainSampling, noRepeatNgram: 3, temperature: 0.9 };
    const edits = logitEdits([slot([1, 2, 3, 1, 2], 2), slot([1, 2, 3, 4], 2), undefined], all, 40)!;
    expect([Array.from(edits.starts), Array.from(edits.ids)]).toEqual([[0, 1, 1, 1], [3]]);
    const u = [0.3, 0.5, 0.7];
    const [found, plain] = [
      nextTokens(logits, undefined, u, all, 40, edits),
      nextTokens(logits, undefined, u, all, 40),
    ];
    for (const b of [1, 2]) {
      expect(found.tokens[b]).toBe(plain.tokens[b]);
      expect(found.behaviorLogprobs[b]).toBe(found.studentLogprobs[b]);
      expect(found.behaviorLogprobs[b]).toBe(plain.behaviorLogprobs[b]);
    }
    expect(found.entropy).toEqual(plain.entropy);
    logits.dispose();
  });

  describe('in a rollout', () => {
    const [vocab, alpha] = [20, 0.3];
    let student: Model;
    let teacher: Model;
    beforeAll(() => {
      student = tinyModel(1, { vocab });
      teacher = tinyModel(2, { family: 'gpt2', vocab: vocab + 3, positions: 28 });
    });
    afterAll(() => {
      for (const { params } of [student, teacher]) disposeParams(params);
    });

    it('the recorded behaviour is what was drawn from, after the mixture; q and p stay whole', () => {
      const prompts: Prompt[] = [
        { index: 0, ids: [4, 9, 4, 9] },
        { index: 3, ids: [2] },
      ];
      const sampling = {
        ...plainSampling,
        ...{ temperature: 1.2, topK: 15, topP: 0.95, minP: 0.05, repetitionPenalty: 1.4, noRepeatNgram: 2 },
      };
      const found = rollout(student, prompts, {
        ...sampling,
        ...{ samples: 2, maxNewTokens: 9, eosIds: [], seed: 5, round: 0, batchSize: 3, policyVersion: 0 },
        teacher: { model: teacher, alpha },
      });
      const [readStudent, readTeacher] = [referenceReader(student), referenceReader(teacher)];
      let banned = 0;
      for (const t of found) {
        const ids = [...t.promptIds, ...t.responseIds];
        const address = { seed: 5, round: 0, promptIndex: t.promptIndex, sample: t.sample, samples: 2 };
        const { rng } = responseStream('independent', address);
        const [q, p] = [readStudent(ids), readTeacher(ids)];
        t.responseIds.forEach((y, k) => {
          const at = t.promptIds.length + k;
          const own = q[at - 1]!.slice(0, vocab);
          const theirs = p[at - 1]!.slice(0, vocab);
          const from = drawnFrom(own, { logits: theirs, alpha }, ids.slice(0, at), sampling);
          banned += from.filter((x) => x === 0).length;
          expect(drawTokenReference(from, rng())).toBe(y);
          expect(t.behaviorLogprobs[k]).toBeCloseTo(Math.log(from[y]!), 5);
          expect(t.studentLogprobs[k]).toBeCloseTo(logSoftmax(own.map((x) => x / 1.2))[y]!, 5);
          expect(t.teacherLogprobs![k]).toBeCloseTo(logSoftmax(theirs)[y]!, 5);
        });
        const pairs = ids.slice(1).map((id, i) => `${ids[i]},${id}`);
        expect(new Set(pairs.slice(t.promptIds.length - 1)).size).toBe(t.responseIds.length);
      }
      expect(banned).toBeGreaterThan(20);
    });

    it('a response ends where `stop` says so, and is finished; what follows is not drawn', () => {
      const settings = {
        samples: 3,
        maxNewTokens: 12,
        eosIds: [],
        seed: 2,
        round: 0,
        batchSize: 4,
        policyVersion: 0,
      };
      const prompts = [{ index: 0, ids: [1] }];
      const stop = (ids: readonly number[]): boolean => ids.at(-1)! % 4 === 0;
      const whole = rollout(student, prompts, { ...plainSampling, ...settings });
      const found = rollout(student, prompts, { ...plainSampling, ...settings, stop });
      found.forEach((t, i) => {
        const end = whole[i]!.responseIds.findIndex((id) => id % 4 === 0);
        expect(t.finished).toBe(end >= 0);
        expect(t.responseIds).toEqual(whole[i]!.responseIds.slice(0, end < 0 ? undefined : end + 1));
      });
      expect(found.some((t) => t.finished)).toBe(true);
    });

    it('a response whose every token is forbidden is an error in words', () => {
      const settings = {
        samples: 1,
        maxNewTokens: 25,
        eosIds: [],
        seed: 2,
        round: 0,
        batchSize: 4,
        policyVersion: 0,
      };
      expect(() =>
        rollout(student, [{ index: 0, ids: [1] }], { ...plainSampling, ...settings, noRepeatNgram: 1 }),
      ).toThrow(`after ${vocab} tokens of prompt and response each of the ${vocab} repeats an n-gram of 1`);
    });
  });
}
