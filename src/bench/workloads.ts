import { UsageError } from '../errors.js';
import { rollout } from '../rollout/engine.js';
import { scoreTokens } from '../scoring/score.js';
import { minillm } from '../training/minillm.js';
import { sft } from '../training/sft.js';
import { type Sample, timed } from './measure.js';
import type { BenchModels } from './models.js';
import { randomRows, trainingBench } from './training.js';

/** Sizes of the work, as `minillm bench` takes them. Every response is as long as allowed, but for `generate` with `eos`. */
export interface BenchSizes {
  /** Sequences of score, generate and sft; rollouts of a round. */
  batch: number;
  promptLen: number;
  maxResponse: number;
  /** Tokens of a sequence that are read, in score and sft. */
  seq: number;
  /** Responses of an optimizer step of a round. */
  minibatch: number;
  /** Passes over the rollouts of a round. */
  inner: number;
  /** Tokens of a pretraining row. */
  ptLen: number;
  alpha: number;
  /** generate: a response ends with the model's end token, as in real work; lengths then differ. */
  eos?: boolean;
  /** generate: these prompts instead of `batch` random ones of `promptLen` tokens. */
  prompts?: readonly ArrayLike<number>[];
  /** sft and round: `train.gradient_checkpointing`. */
  gradientCheckpointing?: boolean;
}

interface Workload {
  run(): Promise<Sample>;
  dispose(): void;
}

/**
 * What `minillm bench` times, over random token ids. Training goes through the methods and the optimizer step of
 * `minillm train`, so a number here is a number there.
 */
export const workloads = { score, generate, sft: sftStep, round } satisfies Record<
  string,
  (models: BenchModels, sizes: BenchSizes) => Workload
>;
export type WorkloadName = keyof typeof workloads;
export const workloadNames = Object.keys(workloads) as WorkloadName[];

/** Token log-probabilities of `batch` sequences of which `seq` tokens are read, no gradient. */
function score({ student }: BenchModels, { batch, seq }: BenchSizes): Workload {
  const rows = randomRows(student.config.vocabSize, batch, seq + 1, 'score');
  return {
    async run() {
      const [, score_s] = await timed(() => scoreTokens(student, rows));
      return { parts: { score_s }, tokens: batch * seq };
    },
    dispose() {},
  };
}

/**
 * `batch` prompts (or those given), each answered with `maxResponse` tokens (with `eos` at most so many); from the mixture with the teacher where
 * there is one.
 */
function generate({ student, teacher }: BenchModels, sizes: BenchSizes): Workload {
  const { promptLen, maxResponse, alpha, eos } = sizes;
  const eosIds = eos ? student.config.eosIds : [];
  if (eos && eosIds.length === 0) throw new UsageError('bench --eos: the model names no end token');
  const given = sizes.prompts ?? randomRows(student.config.vocabSize, sizes.batch, promptLen, 'prompts');
  const prompts = given.map((ids, index) => ({ index, ids }));
  let round = 0;
  return {
    async run() {
      const [responses, generate_s] = await timed(() =>
        rollout(student, prompts, {
          temperature: 1,
          topK: 0,
          topP: 1,
          greedy: false,
          samples: 1,
          maxNewTokens: maxResponse,
          eosIds,
          seed: 1,
          round: round++,
          batchSize: prompts.length,
          policyVersion: 0,
          ...(teacher && { teacher: { model: teacher, alpha } }),
        }),
      );
      return { parts: { generate_s }, tokens: responses.reduce((n, t) => n + t.responseIds.length, 0) };
    },
    dispose() {},
  };
}

/** One optimizer step on the cross-entropy of `seq` tokens of every sequence: forward, backward, clipping, AdamW. */
function sftStep(models: BenchModels, sizes: BenchSizes): Workload {
  const { batch, seq, gradientCheckpointing = false } = sizes;
  const rows = randomRows(models.student.config.vocabSize, batch, seq + 1, 'train');
  const examples = rows.map((ids) => ({ promptIds: ids.slice(0, 1), responseIds: ids.slice(1) }));
  const train = { batch_size: batch, gradient_checkpointing: gradientCheckpointing };
  const run = trainingBench(models, sft(), { method: 'sft', train }, examples);
  return {
    async run() {
      const [, step_s] = await timed(() => run.step());
      return { parts: { step_s }, tokens: batch * seq };
    },
    dispose: run.dispose,
  };
}

/**
 * One round of MiniLLM by the default preset: `batch` rollouts from the mixture (scored by both models on the way),
 * then `inner` passes of optimizer steps on `minibatch` of them beside as many pretraining rows with the teacher's
 * distributions.
 */
function round(models: BenchModels, sizes: BenchSizes): Workload {
  const run = roundBench(models, sizes);
  return {
    async run() {
      const [, rollout_s] = await timed(() => run.collect());
      const parts = { rollout_s, scoring_s: 0, inner_s: 0 };
      for (let i = 0; i < run.steps; i++) {
        const [{ constants_s }, step_s] = await timed(() => run.step());
        parts.scoring_s += constants_s;
        parts.inner_s += step_s - constants_s;
      }
      return { parts, tokens: sizes.batch * sizes.maxResponse };
    },
    dispose: run.dispose,
  };
}

/** The round above in pieces: `collect` its rollouts, then `steps` times `step`. */
export function roundBench(models: BenchModels, sizes: BenchSizes) {
  const { batch, promptLen, maxResponse, minibatch, inner, ptLen, alpha } = sizes;
  if (!models.teacher)
    throw new UsageError('bench --what round needs --teacher DIR or --teacher-shape L,D,H');
  if (batch % minibatch !== 0)
    throw new UsageError(`--batch ${batch} is not a multiple of --minibatch ${minibatch}`);
  const vocab = models.student.config.vocabSize;
  const prompts = randomRows(vocab, batch, promptLen, 'prompts');
  const run = trainingBench(
    models,
    minillm(),
    {
      method: 'minillm',
      train: { batch_size: minibatch, gradient_checkpointing: sizes.gradientCheckpointing ?? false },
      objective: { alpha, lm_coef: 1 },
      rollout: { rollouts: batch, inner_epochs: inner, max_new_tokens: maxResponse, batch_size: batch },
    },
    prompts.map((promptIds) => ({ promptIds, responseIds: new Int32Array() })),
    randomRows(vocab, batch, ptLen, 'corpus'),
  );
  return { ...run, steps: (batch / minibatch) * inner };
}
