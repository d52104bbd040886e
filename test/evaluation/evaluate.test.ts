import * as tf from '@tensorflow/tfjs-core';
import { describe, expect, it } from 'vitest';
import type { Example } from '../../src/data/examples.js';
import { evaluate } from '../../src/evaluation/evaluate.js';
import { cannotCompute, type MetricName, metricNames } from '../../src/evaluation/evaluationMetrics.js';
import type { Generation, GenerationRequest } from '../../src/evaluation/generations.js';
import type { MaterialOptions } from '../../src/evaluation/material.js';
import { exposureBias } from '../../src/evaluation/metrics/exposureBias.js';
import { scorePairs, scoreTokens } from '../../src/evaluation/tokenScores.js';
import { whole } from '../../src/pieces.js';
import { rollout } from '../../src/rollout/engine.js';
import { plainSampling } from '../../src/rollout/sampling.js';
import type { Trajectory } from '../../src/rollout/trajectory.js';
import { initBackend } from '../../src/tensor/backend.js';
import type { Tokenizer } from '../../src/text/tokenizer.js';
import { tinyModel } from '../helpers/models.js';
import { logSoftmax, referenceReader } from '../helpers/referenceModel.js';
import { EOS, tinyExamples, VOCAB } from '../helpers/training.js';

await initBackend({ backend: 'cpu' });

const model = tinyModel(1, { vocab: VOCAB, layers: 1, positions: 16 });
const teacher = tinyModel(2, { vocab: VOCAB + 4, layers: 1, positions: 16, family: 'gpt2' });
const [readModel, readTeacher] = [referenceReader(model), referenceReader(teacher)];

/** Words w1, w2, ...; no word for the end of text. */
const tokenizer = {
  decode: (ids: ArrayLike<number>) =>
    Array.from(ids)
      .filter((id) => id !== EOS)
      .map((id) => `w${id}`)
      .join(' '),
} as Tokenizer;

const examples: Example[] = tinyExamples(9).map((example, i) => ({
  ...example,
  outputs: [tokenizer.decode(example.responseIds)],
  // The first four choose between their reference and another answer.
  ...(i < 4 && {
    choices: [[7, 8, EOS], Array.from(example.responseIds)].map((ids) => ({
      text: tokenizer.decode(ids),
      promptIds: example.promptIds,
      responseIds: Int32Array.from(ids),
    })),
  }),
}));
const options = { seeds: [10, 20], maxNewTokens: 5, batchSize: 4, eosIds: [EOS] };

const measure = (metrics: readonly MetricName[], change: Partial<MaterialOptions> = {}) =>
  evaluate(model, teacher, tokenizer, examples, { metrics, ...options, ...change });

/** The samples that an evaluation with these seeds looks at. */
function samples(seed: number, from = model, noRepeatNgram = 0): Trajectory[] {
  return rollout(
    from,
    examples.map((example, index) => ({ index, ids: example.promptIds })),
    {
      ...plainSampling,
      noRepeatNgram,
      samples: 1,
      maxNewTokens: 5,
      eosIds: [EOS],
      seed,
      round: 0,
      batchSize: 9,
      policyVersion: 0,
      vocabSize: VOCAB,
    },
  );
}

const sum = (x: readonly number[]): number => x.reduce((a, b) => a + b, 0);
const mean = (x: readonly number[]): number => sum(x) / x.length;

/** Per state of a response ln q and ln p over the shared vocabulary, by the slow models. */
function states(t: Trajectory): { logq: number[]; logp: number[] }[] {
  const ids = [...t.promptIds, ...t.responseIds];
  const cut = (logits: number[][]): number[][] =>
    logits.slice(t.promptIds.length - 1, -1).map((row) => logSoftmax(row.slice(0, VOCAB)));
  const logp = cut(readTeacher(ids));
  return cut(readModel(ids)).map((logq, k) => ({ logq, logp: logp[k]! }));
}

const kl = (a: number[], b: number[]): number => sum(a.map((x, v) => Math.exp(x) * (x - b[v]!)));

describe('evaluation', () => {
  it('all metrics together: finite, no tensor left, the same for every batch size', () => {
    const before = tf.memory().numTensors;
    const found = measure(metricNames);
    expect(tf.memory().numTensors).toBe(before);
    expect(Object.keys(found.metrics).sort()).toEqual([...metricNames].sort());
    for (const { mean, stderr, n } of Object.values(found.metrics)) {
      expect(Number.isFinite(mean)).toBe(true);
      expect(Number.isNaN(stderr)).toBe(false);
      expect(n).toBeGreaterThan(0);
    }
    const others = [measure(metricNames, { batchSize: 1 }), measure(metricNames, { batchSize: 64 })];
    for (const other of others) {
      for (const name of metricNames) {
        expect(other.metrics[name]!.mean, name).toBeCloseTo(found.metrics[name]!.mean, 5);
      }
    }
    expect(found.samples.map((t) => Array.from(t.responseIds))).toEqual(
      samples(10).map((t) => Array.from(t.responseIds)),
    );
  });

  it('language-model loss: gold tokens by the slow model, the standard error of a ratio', () => {
    const losses = examples.map((example) => {
      const ids = [...example.promptIds, ...example.responseIds];
      const rows = readModel(ids)
        .slice(example.promptIds.length - 1, -1)
        .map(logSoftmax);
      return -sum(rows.map((row, k) => row[example.responseIds[k]!]!));
    });
    const lengths = examples.map((example) => example.responseIds.length);
    const ratio = sum(losses) / sum(lengths);
    const { lm_loss } = measure(['lm_loss']).metrics;
    expect(lm_loss!.mean).toBeCloseTo(ratio, 5);
    // Delta method: sqrt(Σ (a − R b)² / (n − 1) / n) / mean(b).
    const residuals = losses.map((a, i) => a - ratio * lengths[i]!);
    const n = examples.length;
    const stderr = Math.sqrt(sum(residuals.map((r) => r * r)) / (n - 1) / n) / mean(lengths);
    expect(lm_loss!.stderr).toBeCloseTo(stderr, 5);
    expect(lm_loss!.n).toBe(n);
  });

  it('reverse KL on the model’s samples: per response, per token, and by the one-sample estimators', () => {
    const seeds = [10, 20].map((seed) => samples(seed));
    const all = seeds.flat();
    const perResponse = all.map((t) => sum(states(t).map(({ logq, logp }) => kl(logq, logp))));
    const logRatios = all.map((t) =>
      states(t).map(({ logq, logp }, k) => logp[t.responseIds[k]!]! - logq[t.responseIds[k]!]!),
    );
    const found = measure([
      'reverse_kl_seq',
      'reverse_kl_token',
      'reverse_kl_k1',
      'reverse_kl_k2',
      'reverse_kl_k3',
      'reverse_kl_k1_token',
      'reverse_kl_k2_token',
      'reverse_kl_k3_token',
    ]);
    const estimate = (f: (r: number) => number): number => mean(logRatios.map((rs) => sum(rs.map(f))));
    expect(found.metrics.reverse_kl_seq!.mean).toBeCloseTo(mean(perResponse), 4);
    expect(found.metrics.reverse_kl_k1!.mean).toBeCloseTo(
      estimate((r) => -r),
      4,
    );
    expect(found.metrics.reverse_kl_k2!.mean).toBeCloseTo(
      estimate((r) => (r * r) / 2),
      4,
    );
    expect(found.metrics.reverse_kl_k3!.mean).toBeCloseTo(
      estimate((r) => Math.exp(r) - 1 - r),
      3,
    );
    const perToken = (values: number[]): number =>
      mean(
        seeds.map((seed) => {
          const tokens = sum(seed.map((t) => t.responseIds.length));
          return sum(seed.map((t) => values[all.indexOf(t)]!)) / tokens;
        }),
      );
    expect(found.metrics.reverse_kl_token!.mean).toBeCloseTo(perToken(perResponse), 5);
    const estimators = {
      k1: (r: number) => -r,
      k2: (r: number) => (r * r) / 2,
      k3: (r: number) => Math.exp(r) - 1 - r,
    };
    for (const [name, f] of Object.entries(estimators)) {
      const metric = found.metrics[`reverse_kl_${name}_token` as MetricName]!;
      expect(metric.mean, name).toBeCloseTo(perToken(logRatios.map((rs) => sum(rs.map(f)))), 4);
      expect(metric.stderr).toBeGreaterThan(0);
    }
    // The values per prompt are means over the seeds.
    expect(found.perPrompt.reverse_kl_seq![3]).toBeCloseTo((perResponse[3]! + perResponse[12]!) / 2, 4);
  });

  it('forward KL on the teacher’s samples, exact at each state and by the one-sample estimators', () => {
    const all = [10, 20].flatMap((seed) => samples(seed, teacher));
    const { metrics } = measure([
      'forward_kl_seq',
      'forward_kl_token',
      'forward_kl_k1',
      'forward_kl_k2',
      'forward_kl_k3',
      'forward_kl_k1_token',
    ]);
    const exact = all.map((t) => sum(states(t).map(({ logq, logp }) => kl(logp, logq))));
    expect(metrics.forward_kl_seq!.mean).toBeCloseTo(mean(exact), 4);
    // r = ln q − ln p: the model is the other, the teacher the sampler.
    const ratios = all.map((t) =>
      states(t).map(({ logq, logp }, k) => logq[t.responseIds[k]!]! - logp[t.responseIds[k]!]!),
    );
    const estimate = (f: (r: number) => number): number => mean(ratios.map((rs) => sum(rs.map(f))));
    expect(metrics.forward_kl_k1!.mean).toBeCloseTo(
      estimate((r) => -r),
      4,
    );
    expect(metrics.forward_kl_k2!.mean).toBeCloseTo(
      estimate((r) => (r * r) / 2),
      4,
    );
    expect(metrics.forward_kl_k3!.mean).toBeCloseTo(
      estimate((r) => Math.exp(r) - 1 - r),
      3,
    );
    const perSeed = (values: number[]): number =>
      mean(
        [0, 1].map((s) => {
          const part = (list: number[]): number => sum(list.slice(9 * s, 9 * s + 9));
          return part(values) / part(all.map((t) => t.responseIds.length));
        }),
      );
    expect(metrics.forward_kl_token!.mean).toBeCloseTo(perSeed(exact), 5);
    expect(metrics.forward_kl_k1_token!.mean).toBeCloseTo(perSeed(ratios.map((rs) => -sum(rs))), 5);
  });

  it('excess accumulated error: forward KL at the states of both, at the median length of the teacher’s samples', () => {
    const forward = (t: Trajectory): number[] => states(t).map(({ logq, logp }) => kl(logp, logq));
    const perSeed = [10, 20].map((seed) =>
      exposureBias(samples(seed).map(forward), samples(seed, teacher).map(forward)),
    );
    const lengths = [10, 20].flatMap((seed) => samples(seed, teacher).map((t) => t.responseIds.length));
    const at = lengths.sort((a, b) => a - b)[8]!;
    const found = measure(['ex_acc_err']);
    const expected = perSeed.map(({ excessPercent }) => excessPercent[at - 1]!);
    expect(found.metrics.ex_acc_err!.n).toBe(2);
    expect(found.metrics.ex_acc_err!.mean).toBeCloseTo(mean(expected), 2);
    const curve = found.curves.exposure_bias!;
    expect(curve.at).toBe(at);
    expect(curve.excess_percent[at - 1]).toBe(found.metrics.ex_acc_err!.mean);
    expect(curve.student_error[0]).toBeCloseTo(mean(perSeed.map(({ studentError }) => studentError[0]!)), 5);
    // Before the first token both are in the same state.
    expect(curve.excess_percent[0]).toBe(0);
    expect(curve.excess_stderr[at - 1]).toBeGreaterThan(0);
    // The teacher against itself has no error to exceed.
    const own = evaluate(teacher, teacher, tokenizer, examples, { metrics: ['ex_acc_err'], ...options });
    expect(own.metrics.ex_acc_err).toBeUndefined();
    expect(own.curves.exposure_bias!.excess_percent[0]).toBeNull();
  });

  it('the answer among choices: its probability, accuracy and calibration error', () => {
    const found = measure(['answer_accuracy', 'answer_ece']);
    const logprob = (example: Example, ids: ArrayLike<number>): number => {
      const rows = readModel([...example.promptIds, ...Array.from(ids)]).slice(
        example.promptIds.length - 1,
        -1,
      );
      return sum(rows.map((row, k) => logSoftmax(row)[ids[k]!]!));
    };
    const answers = examples.slice(0, 4).map((example) => {
      const [other, right] = example.choices!.map(({ responseIds }) =>
        Math.exp(logprob(example, responseIds)),
      );
      return { confidence: Math.max(other!, right!) / (other! + right!), correct: Number(right! > other!) };
    });
    expect(found.metrics.answer_accuracy!.mean).toBeCloseTo(100 * mean(answers.map((a) => a.correct)), 10);
    expect(found.metrics.answer_accuracy!.n).toBe(4);
    const bins = new Map<number, { confidence: number; correct: number }[]>();
    for (const answer of answers) {
      const bin = Math.ceil(answer.confidence * 10) - 1;
      bins.set(bin, [...(bins.get(bin) ?? []), answer]);
    }
    const ece = [...bins.values()].map(
      (b) => (b.length / 4) * Math.abs(mean(b.map((a) => a.correct)) - mean(b.map((a) => a.confidence))),
    );
    expect(found.metrics.answer_ece!.mean).toBeCloseTo(sum(ece), 5);
    expect(found.curves.answer_calibration!.reduce((n, bin) => n + bin.count, 0)).toBe(4);
    // Four values have no place among nine that are paired by prompt.
    expect(found.perPrompt.answer_accuracy).toBeUndefined();
  });

  it('distributions: every sample and every token of them is counted once', () => {
    const { curves } = measure(['length', 'reverse_kl_seq']);
    const all = [10, 20].flatMap((seed) => samples(seed));
    expect(curves.length!.counts).toEqual(
      curves.length!.edges.slice(0, -1).map((n) => all.filter((t) => t.responseIds.length === n).length),
    );
    expect(sum(curves.reward!.counts)).toBe(sum(all.map((t) => t.responseIds.length)));
  });

  it('a store: what is kept is not decoded again, whatever is measured', () => {
    const kept = new Map<string, readonly Generation[]>();
    const lines: string[] = [];
    const store = {
      load: (request: GenerationRequest) => kept.get(JSON.stringify(request)) as Generation[] | undefined,
      save: (request: GenerationRequest, made: readonly Generation[]) =>
        void kept.set(JSON.stringify(request), made),
    };
    const withStore = (metrics: readonly MetricName[]) =>
      evaluate(model, teacher, tokenizer, examples, {
        metrics,
        ...options,
        store,
        onProgress: (line) => void lines.push(line),
      });
    const first = withStore(metricNames);
    expect(new Set(lines)).toEqual(
      new Set([
        ...['sampling, seed 10', 'sampling, seed 20', 'greedy decoding'],
        ...['teacher samples, seed 10', 'teacher samples, seed 20'],
      ]),
    );
    lines.length = 0;
    expect(withStore(metricNames)).toEqual(first);
    expect(lines).toEqual([]);
  });

  it('forbids repeated n-grams where it is asked to', () => {
    const { metrics, samples: first } = measure(['length'], { noRepeatNgram: 1 });
    const all = [10, 20].flatMap((seed) => samples(seed, model, 1));
    expect(metrics.length!.mean).toBeCloseTo(mean(all.map((t) => t.responseIds.length)), 10);
    for (const t of first) {
      const ids = [...t.promptIds, ...t.responseIds];
      expect(new Set(ids.slice(-t.responseIds.length)).size).toBe(t.responseIds.length);
      for (const id of t.responseIds) expect(Array.from(t.promptIds)).not.toContain(id);
    }
  });

  it('lengths, ends, and texts of the samples', () => {
    const all = [10, 20].flatMap((seed) => samples(seed));
    const { metrics } = measure(['length', 'ended', 'empty', 'exact_match', 'rouge_l_greedy']);
    expect(metrics.length!.mean).toBeCloseTo(mean(all.map((t) => t.responseIds.length)), 10);
    expect(metrics.ended!.mean).toBeCloseTo(mean(all.map((t) => Number(t.finished))), 10);
    expect(metrics.empty!.mean).toBeCloseTo(mean(all.map((t) => Number(t.responseIds[0] === EOS))), 10);
    // A model whose answers are the references would score 100: here the references are its own greedy answers.
    const greedy = examples.map((example) => {
      const [t] = rollout(model, [{ index: 0, ids: example.promptIds }], {
        ...{ ...plainSampling, greedy: true, samples: 1, maxNewTokens: 5, eosIds: [EOS] },
        ...{ seed: 0, round: 0, batchSize: 1, policyVersion: 0 },
      });
      return { ...example, outputs: ['nothing alike', tokenizer.decode(t!.responseIds)] };
    });
    const own = evaluate(model, undefined, tokenizer, greedy, {
      metrics: ['exact_match', 'rouge_l_greedy'],
      ...options,
    });
    expect(own.metrics.exact_match!.mean).toBe(100);
    expect(metrics.exact_match!.mean).toBeLessThan(100);
    expect(own.samples).toEqual([]);
  });

  it('diversity needs two seeds; one seed gives errors over prompts', () => {
    expect(() => measure(['sample_diversity'], { seeds: [10] })).toThrow(
      'metric sample_diversity needs two seeds or more',
    );
    expect(measure(['length'], { seeds: [10] }).metrics.length!.n).toBe(9);
    expect(measure(['sample_diversity', 'length']).metrics.sample_diversity!.mean).toBeGreaterThan(0);
  });

  it('a metric that needs a teacher says so before anything is sampled', () => {
    let sampled = false;
    expect(() =>
      evaluate(model, undefined, tokenizer, examples, {
        metrics: ['length', 'reverse_kl_seq'],
        ...options,
        onProgress: () => {
          sampled = true;
        },
      }),
    ).toThrow('metric reverse_kl_seq needs a teacher; give --teacher DIR');
    expect(sampled).toBe(false);
  });

  it('what cannot be computed from questions alone is said', () => {
    const questions = examples.map(({ choices: _, ...example }) => ({ ...example, outputs: [] }));
    const given = { teacher: true, examples: questions, seeds: 2 };
    const possible = metricNames.filter((name) => !cannotCompute(name, given));
    expect(possible).toContain('reverse_kl_seq');
    expect(possible).toContain('sample_diversity');
    expect(possible.filter((name) => /rouge|match|loss|ece|answer/.test(name))).toEqual([]);
    expect(cannotCompute('answer_ece', given)).toBe('needs rows with "choices", the answers to choose from');
    const found = evaluate(model, teacher, tokenizer, questions, { metrics: possible, ...options });
    expect(Object.keys(found.metrics).sort()).toEqual([...possible].sort());
  });
});

describe('token scores', () => {
  it('log-probability, confidence and correctness by the slow model, whatever shares a batch', () => {
    const before = tf.memory().numTensors;
    const found = whole(scoreTokens(model, examples, 4));
    expect(tf.memory().numTensors).toBe(before);
    examples.forEach((example, i) => {
      const ids = [...example.promptIds, ...example.responseIds];
      const rows = readModel(ids)
        .slice(example.promptIds.length - 1, -1)
        .map(logSoftmax);
      expect(found[i]!.logprobs).toHaveLength(example.responseIds.length);
      rows.forEach((row, k) => {
        const best = Math.max(...row);
        expect(found[i]!.logprobs[k]).toBeCloseTo(row[example.responseIds[k]!]!, 5);
        expect(found[i]!.confidence[k]).toBeCloseTo(Math.exp(best), 5);
        expect(found[i]!.correct[k]).toBe(Number(row[example.responseIds[k]!] === best));
      });
    });
  });

  it('both models over the vocabulary that both have', () => {
    const all = samples(10);
    const before = tf.memory().numTensors;
    const found = whole(scorePairs(model, teacher, all, 4));
    expect(tf.memory().numTensors).toBe(before);
    all.forEach((t, i) => {
      states(t).forEach(({ logq, logp }, k) => {
        expect(found[i]!.logprobs[k]).toBeCloseTo(logq[t.responseIds[k]!]!, 4);
        expect(found[i]!.logprobs[k]).toBeCloseTo(t.studentLogprobs[k]!, 4);
        expect(found[i]!.teacherLogprobs[k]).toBeCloseTo(logp[t.responseIds[k]!]!, 4);
        expect(found[i]!.reverseKl[k]).toBeCloseTo(kl(logq, logp), 4);
        expect(found[i]!.forwardKl[k]).toBeCloseTo(kl(logp, logq), 4);
      });
    });
  });
});

describe('teacherSeeds', () => {
  const names = [
    'rouge_l_sampled',
    'reverse_kl_seq',
    'reverse_kl_token',
    'forward_kl_seq',
    'length',
  ] as const;

  it('has the teacher asked about the first seeds only; what needs no teacher keeps all seeds', () => {
    const all = measure(names).metrics;
    const first = measure(names, { seeds: [10] }).metrics;
    const some = evaluate(model, teacher, tokenizer, examples, {
      metrics: names,
      ...options,
      teacherSeeds: 1,
    }).metrics;
    for (const name of ['rouge_l_sampled', 'length'] as const) expect(some[name]).toEqual(all[name]);
    for (const name of ['reverse_kl_seq', 'reverse_kl_token', 'forward_kl_seq'] as const) {
      expect(some[name]).toEqual(first[name]);
      expect(some[name]!.mean).not.toBeCloseTo(all[name]!.mean, 5);
    }
  });
});
