import { oneShard } from '../cluster/shards.js';
import { evaluationPieces } from '../evaluation/evaluate.js';
import { cannotCompute, type MetricName } from '../evaluation/evaluationMetrics.js';
import type { Summary } from '../evaluation/metrics/statistics.js';
import { withoutWords } from '../evaluation/wordless.js';
import type { Model } from '../models/model.js';
import { paused } from '../pieces.js';
import type { TrainConfig } from '../training/config.js';
import type { Method, TrainingContext } from '../training/method.js';
import type { TrainingState } from '../training/state.js';
import { validationSamples } from '../training/validationSamples.js';
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
  /** Of the rank that keeps the run directory. */
  keeper:
    | {
        out: string;
        runLog: RunLog;
        watch: DriftWatch;
        save: (directory: string, student: Model) => Promise<void>;
      }
    | undefined;
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
  const { context, method, materials, keeper } = run;
  const { config, student, shards = oneShard } = context;
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
  const { seeds } = settings(run);
  const given = { teacher: teacher !== undefined, examples, seeds: seeds.length };
  const result = await paused(
    evaluationPieces(student, teacher, materials.tokenizer, examples, {
      metrics: metrics.filter((name) => !cannotCompute(name, given)),
      ...settings(run),
    }),
    context.pause,
  );
  const knowsTeacher = shards.first(keeper?.watch.knowsTeacher ?? false);
  const ofTeacher =
    teacher && sampled.length > 0 && !knowsTeacher
      ? await paused(
          evaluationPieces(teacher, undefined, materials.tokenizer, examples, {
            metrics: watchedForms,
            ...settings(run),
          }),
          context.pause,
        )
      : undefined;
  const own = method.objective && (await paused(method.objective(context, examples), context.pause));
  const all = {
    ...result.metrics,
    ...(own !== undefined && { objective: { mean: own, stderr: null, n: examples.length } }),
  };
  const { lm_loss } = result.metrics;
  if (lm_loss) method.validated?.(context, state, lm_loss.mean);
  const value = selection && result.metrics[selection.metric]?.mean;
  const best = value !== undefined && (state.best === null || selection!.better(value, state.best.value));
  if (best) state.best = { step: state.step, value };
  if (keeper) {
    const { out, runLog, watch, save } = keeper;
    const form = ofTeacher?.metrics;
    if (form) watch.teacher(form);
    const { drifted, warnings } = watch.look(result.metrics);
    const wordless = selection?.metric === 'rouge_l_sampled' ? withoutWords(examples) : 0;
    runLog.evaluation(state.step, state.round, all, { drifted, teacher: form, wordless });
    if (result.samples.length > 0) {
      await writeSamples(out, `step-${state.step}`, result.samples, examples, materials.tokenizer);
    }
    if (best) await save(runPaths(out).best, student);
    runLog.note(validationLine(result.metrics, selection?.metric, own, state));
    for (const line of warnings) runLog.note(line);
  }
  return { step: state.step, round: state.round, metrics: all, best };
}

/** A validation in one line: what best/ is chosen by first, then what it has beside it. */
function validationLine(
  metrics: Partial<Record<MetricName, Pick<Summary, 'mean'>>>,
  selected: MetricName | undefined,
  objective: number | undefined,
  { step, best }: TrainingState,
): string {
  const shown = [
    ...new Set<MetricName>([...(selected ? [selected] : []), 'lm_loss', 'reverse_kl_seq']),
  ].flatMap((name) => {
    const value = metrics[name]?.mean;
    if (value === undefined) return [];
    const chosen =
      name === selected && best && step > 0
        ? best.step === step
          ? ' (best)'
          : ` (best ${short(best.value)} at step ${best.step}${best.step === 0 ? ', before training' : ''})`
        : '';
    return [`${name} ${short(value)}${chosen}`];
  });
  if (objective !== undefined) shown.push(`objective ${short(objective)}`);
  return `validation at step ${step}: ${shown.join(', ')}`;
}

const short = (value: number): string => String(Number(value.toPrecision(4)));

/** The run's own seed first: its samples are those that are written down. */
function settings({ context: { config, eosIds, shards = oneShard }, materials }: Validation) {
  const samples = validationSamples(config, materials.valid.length);
  return {
    shards,
    seeds: Array.from({ length: samples }, (_, i) => config.seed + i),
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
