import { evaluate } from '../evaluation/evaluate.js';
import { cannotCompute, type MetricName } from '../evaluation/evaluationMetrics.js';
import type { Summary } from '../evaluation/metrics/statistics.js';
import type { Model } from '../models/model.js';
import type { TrainConfig } from '../training/config.js';
import type { Method, TrainingContext } from '../training/method.js';
import type { TrainingState } from '../training/state.js';
import { type DriftWatch, watchedForms } from './driftWatch.js';
import type { Materials } from './materials.js';
import { runPaths } from './runDirectory.js';
import type { RunLog } from './runLog.js';
import { writeSamples } from './samples.js';
import { selectionFor } from './selection.js';

export interface Validation {
  context: TrainingContext;
  method: Method;
  materials: Materials;
  out: string;
  runLog: RunLog;
  watch: DriftWatch;
  save: (directory: string, student: Model) => Promise<void>;
}

/** What a validation found. */
export interface EvaluationRecord {
  step: number;
  round: number;
  /** By the names of docs/evaluation.md, each with its mean, standard error and n. */
  metrics: Record<string, Summary>;
  /** Whether this student became `best/`. */
  best: boolean;
}

/** Validates the student, looks for reward hacking, and saves a new best as `best/`. */
export async function validate(run: Validation, state: TrainingState): Promise<EvaluationRecord> {
  const { context, method, materials, out, runLog, watch } = run;
  const { config, student } = context;
  const examples = materials.valid;
  const selection = selectionFor(config, examples);
  const teacher = localTeacher(context);
  const sampled = sampledMetrics(config, teacher);
  const metrics = [
    ...new Set<MetricName>([
      'lm_loss',
      ...(selection ? [selection.metric] : []),
      ...sampled,
      ...(config.eval.metrics as MetricName[]),
    ]),
  ];
  const given = { teacher: teacher !== undefined, examples, seeds: 1 };
  const result = evaluate(student, teacher, materials.tokenizer, examples, {
    metrics: metrics.filter((name) => !cannotCompute(name, given)),
    ...settings(context),
  });
  const form =
    teacher && sampled.length > 0 && !watch.knowsTeacher
      ? evaluate(teacher, undefined, materials.tokenizer, examples, {
          metrics: watchedForms,
          ...settings(context),
        }).metrics
      : undefined;
  if (form) watch.teacher(form);
  const { drifted, warnings } = watch.look(result.metrics);
  const own = method.objective?.(context, examples);
  const all = {
    ...result.metrics,
    ...(own !== undefined && { objective: { mean: own, stderr: null, n: examples.length } }),
  };
  runLog.evaluation(state.step, state.round, all, { drifted, teacher: form });
  for (const line of warnings) runLog.note(line);
  const { lm_loss } = result.metrics;
  if (lm_loss) method.validated?.(context, state, lm_loss.mean);
  if (result.samples.length > 0) {
    await writeSamples(out, `step-${state.step}`, result.samples, examples, materials.tokenizer);
  }
  const value = selection && result.metrics[selection.metric]?.mean;
  const best = value !== undefined && (state.best === null || selection!.better(value, state.best.value));
  if (best) {
    state.best = { step: state.step, value };
    await run.save(runPaths(out).best, student);
  }
  return { step: state.step, round: state.round, metrics: all, best };
}

function settings({ config, eosIds }: TrainingContext) {
  return {
    seeds: [config.seed],
    maxNewTokens: config.eval.max_new_tokens ?? config.rollout.max_new_tokens,
    batchSize: config.rollout.batch_size,
    eosIds,
  };
}

/** A remote teacher takes no part in validation: `best/` is chosen without it. */
function localTeacher({ teachers }: TrainingContext): Model | undefined {
  return teachers[0]?.remote ? undefined : teachers[0];
}

/** Sampling at every validation is what a policy-gradient run is judged by; plain SFT is spared it. */
function sampledMetrics(config: TrainConfig, teacher: Model | undefined): MetricName[] {
  if (config.method === 'sft') return [];
  return [
    'rouge_l_sampled',
    ...(teacher ? (['reverse_kl_seq', 'reverse_kl_token'] as const) : []),
    ...watchedForms,
  ];
}
