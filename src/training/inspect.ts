import { UsageError } from '../errors.js';
import { packSequences, textSequence } from '../models/packed.js';
import type { MinillmLoss } from '../objectives/minillmLoss.js';
import type { ObjectiveConfig } from '../objectives/presets.js';
import { globalNorm } from '../optim/clip.js';
import type { Trajectory } from '../rollout/trajectory.js';
import { disposeParams, type Params } from '../tensor/params.js';
import { batchGradients } from './gradients.js';
import { policyBatches } from './policyBatches.js';
import { textBatches } from './pretraining.js';
import { type Models, responseTokens, teacherLogits } from './supervised.js';

/** Per-token lists are one list per response, in order, without padding. */
export interface Inspection {
  /** Importance weights of the configured correction. */
  w: number[][];
  /** r_t, the teacher's, scaled and clipped, before `kl_coef`. */
  rewards: number[][];
  /** ρ_t, the task's; absent without one. */
  task_rewards?: number[][];
  /** After length normalisation, before baseline and whitening. */
  returns: number[][];
  advantages: number[][];
  /** ln q_new(y_t | s_t) at the temperature. */
  logprobs_new: number[][];
  /** exp(ln q_new − ln q_old), before w. */
  ratio: number[][];
  /** KL(q_new‖p) over the whole vocabulary, both at the temperature, before any weight. */
  kl: number[][];
  /** The surrogate of each token: its sum over the tokens, divided by them, is `pg_loss`. */
  pg_per_token: number[][];
  /** 1 where the clip stops the gradient. */
  clipped: number[][];
  pg_loss: number;
  /** Also without `single_step`, and then not part of the total. */
  reg_loss: number;
  /** Minus the entropy, before `entropy_coef`; 0 where that is 0. */
  ent_loss: number;
  /** Cross-entropy, soft cross-entropy and their mixture on the texts, before `lm_coef`; 0 without texts. */
  lm_loss: number;
  ds_loss: number;
  pt_loss: number;
  total_loss: number;
  clipped_fraction: number;
  /** Response tokens. */
  tokens: number;
  /** Of the total loss over all parameters, before clipping. */
  grad_norm: number;
  /** By Hugging Face name; a tied tensor once, under the embedding's name. */
  param_grad_norms: Record<string, number>;
}

/**
 * One optimizer step of MiniLLM on given trajectories and texts, taken apart and not applied: `policyBatches`,
 * `textBatches` and `batchGradients` are what training runs.
 *
 * The teacher's share of the pretraining loss is reported also where `kd_ratio` is 0, the whole of it where `lm_coef` is 0;
 * neither then enters `total_loss` or a gradient.
 *
 * @param texts token ids of plain text, two or more each
 * @throws UsageError when a loss or the gradient is not finite, naming it
 */
export function inspectStep(
  models: Models,
  trajectories: readonly Trajectory[],
  texts: readonly Int32Array[],
  objective: ObjectiveConfig,
  microBatchSize?: number,
): Inspection {
  const seen = new Map<Trajectory, Record<keyof MinillmLoss['perToken'], number[]>>();
  const { signals, micro } = policyBatches(models, trajectories, objective, {
    microBatchSize,
    teacherLogits: (part) => teacherLogits(models, packSequences(part))[0]!,
    observe(part, perToken) {
      const values = Object.entries(perToken).map(([name, x]) => [name, x.dataSync()] as const);
      let at = 0;
      for (const t of part) {
        const end = at + t.responseIds.length;
        const own = values.map(([name, x]) => [name, Array.from(x.subarray(at, end))]);
        seen.set(t, Object.fromEntries(own));
        at = end;
      }
    },
  });
  const pretraining = textBatches(models, texts.map(textSequence), objective, microBatchSize, {
    withTeacher: true,
  });
  const { values, grads } = batchGradients([...micro, ...pretraining], models.student.params);
  const norms = normsOf(grads!);
  const perToken = (name: keyof MinillmLoss['perToken']): number[][] =>
    trajectories.map((t) => seen.get(t)![name]);
  const lists = (x: readonly Float64Array[]): number[][] => x.map((row) => Array.from(row));
  const part = (name: string): number => values[name] ?? 0;
  const result = {
    w: lists(signals.w),
    rewards: lists(signals.rewards),
    ...(signals.taskRewards && { task_rewards: lists(signals.taskRewards) }),
    returns: lists(signals.returns),
    advantages: lists(signals.advantages),
    logprobs_new: perToken('logprobs'),
    ratio: perToken('ratio'),
    kl: perToken('kl'),
    pg_per_token: perToken('pg'),
    clipped: perToken('clipped'),
    pg_loss: part('pg_loss'),
    reg_loss: part('reg_loss'),
    ent_loss: part('ent_loss'),
    lm_loss: part('lm_loss'),
    ds_loss: part('ds_loss'),
    pt_loss: part('pt_loss'),
    total_loss: part('loss'),
    clipped_fraction: part('clipped_fraction'),
    tokens: responseTokens(trajectories),
    ...norms,
  };
  assertFinite(result);
  return result;
}

function normsOf(grads: Params): Pick<Inspection, 'grad_norm' | 'param_grad_norms'> {
  const norms = {
    grad_norm: globalNorm(grads),
    param_grad_norms: Object.fromEntries(
      Object.entries(grads).map(([name, grad]) => [name, globalNorm({ [name]: grad })]),
    ),
  };
  disposeParams(grads);
  return norms;
}

function assertFinite(result: Inspection): void {
  for (const [name, value] of Object.entries(result)) {
    if (typeof value !== 'number' || Number.isFinite(value)) continue;
    throw new UsageError(
      `${name} is ${value}: the given log-probabilities are too far from the models' (the ratio overflows), or the weights are not usable`,
    );
  }
}
