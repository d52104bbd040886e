import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as tf from '@tensorflow/tfjs-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Student } from '../../experiments/students.js';
import {
  distribution,
  languageOf,
  optimum,
  sentences,
  tables,
} from '../../experiments/what-pays/consequence/language.js';
import { makeLanguage } from '../../experiments/what-pays/consequence/make.js';
import { studentOf, teacherOf } from '../../experiments/what-pays/consequence/teacher.js';
import { candidatesOf, order, standings } from '../../experiments/what-pays/default.js';
import { effects, points } from '../../experiments/what-pays/points.js';
import { settings } from '../../experiments/what-pays/settings.js';
import { chosenRates, training, tuning } from '../../experiments/what-pays/sweeps.js';
import { loadExamples } from '../../src/data/examples.js';
import { disposeModel, forwardHidden, headLogits, type Model } from '../../src/models/model.js';
import { initBackend } from '../../src/tensor/backend.js';
import { loadTokenizer } from '../../src/text/tokenizer.js';

const place = mkdtempSync(join(tmpdir(), 'what-pays-'));
beforeAll(async () => void (await initBackend()));
afterAll(() => rmSync(place, { recursive: true }));

/** ln softmax of the logits behind every token. */
const logprobs = ({ params, config }: Model, ids: number[]): number[][] =>
  tf.tidy(() => {
    const hidden = forwardHidden(params, config, Int32Array.from(ids), 1, ids.length);
    return tf.logSoftmax(headLogits(params, config, hidden)).arraySync() as number[][];
  });

describe('the language', () => {
  it('has two roads, of which one asks for the key at every fourth word', () => {
    const language = languageOf(8);
    expect(sentences(language, 3).map((words) => words.join(' '))).toEqual([
      'a1 a2 a3 a4.3 a5 a6 a7 a8.3',
      'b1 b2 b3 b4 b5 b6 b7 b8',
    ]);
    expect(language.words).toHaveLength(3 + 4 + 6 + 8 + 8);
    expect(() => languageOf(6)).toThrow('length 6: expected a multiple of 4');
  });

  it('costs who has forgotten the key 1.56 nats a question, and a commitment to the other road ln 2 at most', () => {
    // κ = −ln 4 − ¾ ln 0.02 − ¼ ln 0.94 = 1.56319…
    const short = optimum(languageOf(4));
    expect(short.single.kl).toBeCloseTo(0.781597, 5);
    expect(short.sequence.kl).toBeCloseTo(0.502968, 5);
    expect(short.sequence.roadA).toBeCloseTo(0.173189, 5);
    const long = optimum(languageOf(64));
    expect(long.single.kl).toBeCloseTo(12.505534, 5);
    expect(long.sequence.kl).toBeCloseTo(Math.LN2, 6);
  });

  it('is what its teacher says, word by word and key by key', () => {
    const language = languageOf(8);
    const spoken = tables(language);
    const teacher = teacherOf(language);
    const id = (word: string) => language.words.indexOf(word);
    for (const key of [1, 4]) {
      for (const road of sentences(language, key)) {
        const ids = [`k${key}`, 'Answer:', ...road].map(id);
        const said = logprobs(teacher, ids);
        for (let t = 1; t < ids.length; t++) {
          const p = distribution(spoken, ids[t]!, key);
          for (const [v, share] of p.entries()) expect(said[t]![v]).toBeCloseTo(Math.log(share), 3);
        }
      }
    }
    // The right answer has 1 − 3τ, each wrong one τ.
    const ids = ['k2', 'Answer:', 'a1', 'a2', 'a3'].map(id);
    expect(Math.exp(logprobs(teacher, ids).at(-1)![id('a4.2')]!)).toBeCloseTo(0.94, 4);
    expect(Math.exp(logprobs(teacher, ids).at(-1)![id('a4.1')]!)).toBeCloseTo(0.02, 4);
    disposeModel(teacher);
  });

  it('has a student that cannot know the key where it is asked', () => {
    const language = languageOf(8);
    const student = studentOf(language, { width: 16, inner: 16 }, 3);
    const said = [1, 2].map((key) =>
      logprobs(
        student,
        [`k${key}`, 'Answer:', 'a1', 'a2', 'a3'].map((w) => language.words.indexOf(w)),
      ),
    );
    // At `Answer:` and a1 it still sees the key; from a2 on, and so at the first question, it does not.
    expect(said[0]![1]).not.toEqual(said[1]![1]);
    for (const t of [3, 4]) expect(said[0]![t]).toEqual(said[1]![t]);
    disposeModel(student);
  });

  it('is written as models, a tokenizer of its words, and rows whose references are its sentences', async () => {
    const out = join(place, 'language');
    const language = await makeLanguage(out, { length: 4, rows: { train: 40, valid: 4, test: 4 } });
    const tokenizer = await loadTokenizer(join(out, 'teacher'));
    const limits = { template: 'plain', maxPromptTokens: 8, maxTokens: 80 } as const;
    const { examples } = await loadExamples(join(out, 'train.jsonl'), tokenizer, limits);
    expect(examples).toHaveLength(40);
    const [first] = examples;
    expect([...first!.promptIds].map((v) => language.words[v])).toEqual(['k1', 'Answer:']);
    expect(language.words[first!.responseIds.at(-1)!]).toBe('</s>');
    expect(first!.outputs.slice(1)).toEqual(['a1 a2 a3 a4.1', 'b1 b2 b3 b4']);
    expect(tokenizer.decode(first!.responseIds, { skipSpecial: true }).trim()).toBe(first!.outputs[0]);
    // Both roads are taken.
    expect(new Set(examples.map(({ outputs }) => outputs[0]![0]))).toEqual(new Set(['a', 'b']));
  });
});

describe('the sweeps', () => {
  it('name only points that there are', () => {
    for (const [, point, minus] of effects) expect([points[point], points[minus]]).not.toContain(undefined);
  });

  it('try every point at every rate, and train each at the one with the lowest reverse KL', () => {
    const setting = settings.consequence;
    const tried = tuning(setting, place, { single: points.single! }) as Record<string, unknown>;
    expect(tried.variants).toEqual({ single: { 'objective.returns': 'none' } });
    expect(tried.grid).toEqual({ 'train.lr': [3e-4, 1e-3, 3e-3] });
    const row = (variant: string, lr: number, kl: number, status = 'done') => ({
      fields: { variant, 'train.lr': lr },
      metrics: status === 'done' ? { reverse_kl_seq: { mean: kl } } : {},
      status,
    });
    const runs = [
      row('single', 1e-3, 2),
      row('single', 3e-3, 1.5),
      row('future', 1e-3, 1),
      row('future', 3e-3, 3),
    ];
    const tune = join(place, 'tune');
    rmSync(tune, { recursive: true, force: true });
    writeSweep(tune, runs);
    const { rates, table } = chosenRates(place);
    expect(rates).toEqual({ single: 3e-3, future: 1e-3 });
    expect(table).toContain('single,0.003,1.5,yes');
    const trained = training(setting, place, rates, { single: points.single! }) as Record<string, unknown>;
    expect(trained.variants).toEqual({ single: { 'objective.returns': 'none', 'train.lr': 3e-3 } });
    writeSweep(tune, [row('single', 1e-3, 0, 'failed')]);
    expect(() => chosenRates(place)).toThrow('no run of single came to its end');
  });
});

describe('the rule of the default', () => {
  /** Two seeds of a point whose values of four prompts are these, in both metrics; seed 2 is 0.1 above. */
  const group = (score: number[], kl: number, trainSeconds: number, length = 8): Student[] =>
    [1, 2].map((seed) => ({
      ...{ name: `${seed}`, fields: { seed }, directory: '', steps: 1, trainSeconds, promptSet: 'p' },
      ...{ data: null, notes: [], prompts: 4, curves: {} },
      metrics: {
        score: { mean: score.reduce((sum, x) => sum + x, 0) / 4 + 0.1 * (seed - 1), stderr: null, n: 4 },
        reverse_kl_seq: { mean: kl, stderr: null, n: 4 },
        length: { mean: length, stderr: null, n: 4 },
      },
      perPrompt: { score: score.map((x) => x + 0.1 * (seed - 1)) },
    }));
  const groups = new Map([
    ['single', group([1, 1, 1, 1], 3, 5)],
    ['future', group([2, 2, 2, 2], 2, 7)],
    ['sampled', group([1, 3, 1, 2.5], 1, 6, 6)],
    ['gamma-0.9', group([9, 9, 9, 9], 0.5, 1)],
    ['normed', group([9, 9, 9, 9], 0.5, 1, 5.9)],
  ]);

  it('calls a point level whose difference to the best reaches zero; γ < 1 is no candidate, nor who answers in less than three quarters', () => {
    const candidates = candidatesOf([groups, new Map([...groups, ['paper', group([9, 9, 9, 9], 0, 1)]])]);
    expect(candidates).toEqual(['future', 'single', 'sampled']);
    const more = standings(groups, { metric: 'score', better: 'more' }, candidates);
    expect(more.get('single')).toMatchObject({ level: false, rank: 3, seconds: 5 });
    // One behind the best with every prompt: no draw of prompts reaches zero.
    expect(more.get('single')!.mean).toBeCloseTo(-1, 12);
    expect(more.get('future')).toMatchObject({ level: true, rank: 2 });
    expect(more.get('sampled')).toMatchObject({ level: true, rank: 1 });
    // One draw of four prompts in sixteen has only those where sampled is no worse.
    const less = standings(groups, { metric: 'score', better: 'less' }, candidates);
    expect([...less].map(([, { level }]) => level)).toEqual([false, true, true]);
  });

  it('puts the point first that is level in most settings, then the lowest mean rank, then the least time', () => {
    const standing = (level: boolean, rank: number, seconds: number) => ({
      ...{ mean: 0, low: 0, high: 0, level, rank, seconds },
    });
    const one = new Map([
      ['single', standing(true, 1, 1)],
      ['future', standing(true, 3, 9)],
      ['sampled', standing(true, 2, 8)],
      ['normed', standing(true, 4, 1)],
    ]);
    const two = new Map([
      ['single', standing(false, 1, 1)],
      ['future', standing(true, 1, 9)],
      ['sampled', standing(true, 2, 8)],
      ['normed', standing(true, 5, 1)],
    ]);
    // future and sampled have the mean rank 2.
    expect(order([one, two])).toEqual(['sampled', 'future', 'normed', 'single']);
  });
});

function writeSweep(directory: string, runs: unknown[]): void {
  mkdirSync(directory, { recursive: true });
  writeFileSync(join(directory, 'sweep.json'), JSON.stringify({ runs }));
}
