import * as tf from '@tensorflow/tfjs-core';
import { describe, expect, it } from 'vitest';
import type { Example } from '../../src/data/examples.js';
import { evaluate } from '../../src/evaluation/evaluate.js';
import { type MetricName, metricNames } from '../../src/evaluation/evaluationMetrics.js';
import { goldTokens } from '../../src/evaluation/goldTokens.js';
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

const examples: Example[] = tinyExamples(9).map((example) => ({
  ...example,
  outputs: [tokenizer.decode(example.responseIds)],
}));
const options = { seeds: [10, 20], maxNewTokens: 5, batchSize: 4, eosIds: [EOS] };

const measure = (metrics: readonly MetricName[], change: Partial<typeof options> = {}) =>
  evaluate(model, teacher, tokenizer, examples, { metrics, ...options, ...change });

/** The samples that an evaluation with these seeds looks at. */
function samples(seed: number, from = model, scorer = teacher): Trajectory[] {
  return rollout(
    from,
    examples.map((example, index) => ({ index, ids: example.promptIds })),
    {
      ...plainSampling,
      samples: 1,
      maxNewTokens: 5,
      eosIds: [EOS],
      seed,
      round: 0,
      batchSize: 9,
      policyVersion: 0,
      teacher: { model: scorer, alpha: 0 },
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
    const perToken = seeds.map((seed) => {
      const tokens = sum(seed.map((t) => t.responseIds.length));
      return sum(seed.map((t) => perResponse[all.indexOf(t)]!)) / tokens;
    });
    expect(found.metrics.reverse_kl_token!.mean).toBeCloseTo(mean(perToken), 5);
    // The values per prompt are means over the seeds.
    expect(found.perPrompt.reverse_kl_seq![3]).toBeCloseTo((perResponse[3]! + perResponse[12]!) / 2, 4);
  });

  it('forward KL on the teacher’s samples', () => {
    const all = [10, 20].flatMap((seed) => samples(seed, teacher, model));
    const expected = mean(all.map((t) => sum(states(t).map(({ logq, logp }) => kl(logp, logq)))));
    expect(measure(['forward_kl_seq']).metrics.forward_kl_seq!.mean).toBeCloseTo(expected, 4);
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
    const one = measure(['sample_diversity', 'length'], { seeds: [10] });
    expect(one.metrics.sample_diversity).toBeUndefined();
    expect(one.metrics.length!.n).toBe(9);
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
});

describe('gold tokens', () => {
  it('log-probability, confidence and correctness by the slow model, whatever shares a batch', () => {
    const before = tf.memory().numTensors;
    const found = goldTokens(model, examples, 4);
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
});
