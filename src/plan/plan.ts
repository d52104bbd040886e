import type { Sequence } from '../models/packed.js';
import type { BackendInfo } from '../tensor/backend.js';
import type { TrainConfig } from '../training/config.js';
import { MICRO_BATCH } from '../training/microBatches.js';
import { teacherLogitsBudget } from '../training/teacherLogits.js';
import { calibrate, type Speeds } from './calibrate.js';
import { type PlanInputs, type PlannedModel, weightBytes } from './inputs.js';
import { type MemoryPlan, memoryOf } from './memory.js';
import type { Network } from './network.js';
import { optimizerSeconds, planRanks, type RanksPlan } from './ranks.js';
import { type Schedule, scheduleOf } from './schedule.js';
import { byPart, flopsOf, secondsOf, sum } from './time.js';
import { unknowns } from './unknowns.js';
import { type Job, type Work, workOf } from './work.js';

type Parts = Record<string, number>;

/** What a run would take. Names are those of `--json`; seconds and bytes, and operations as forwardFlops counts them. */
export interface Plan {
  method: string;
  machine: {
    backend: string;
    engine: string;
    threads: number;
    memory_total: number;
    memory_available: number;
    /** Whose memory that is. */
    memory_of: 'card' | 'machine';
  };
  models: {
    role: 'student' | 'teacher';
    source: string;
    family: string;
    parameters: number;
    /** Without embeddings, positions and head. */
    block_parameters: number;
    weights: PlannedModel['weights'];
    /** Student: values that train. */
    trained?: number;
    /** Teacher: its weights are the base of the student's adapters, in memory once. */
    shared?: boolean;
  }[];
  data: {
    counted: boolean;
    /** Why tokens are bounds. */
    bounds_because: string | null;
    train_rows: number | null;
    dropped_rows: number | null;
    train_tokens: number | null;
    mean_prompt_tokens: number;
    mean_response_tokens: number;
    validation_rows: number;
    text_pieces: number | null;
  };
  schedule: Schedule;
  /** Mean of an optimizer step, by part, rollouts shared out over the steps of their round. */
  tokens_per_step: Parts;
  flops_per_step: Parts & { total: number };
  flops: { training: number; before_first_step: number; validation: number; total: number };
  memory: MemoryPlan & { fits: boolean };
  /** On disk: checkpoints that are kept, best/ and final/. */
  disk: number;
  /** null without a calibration. Training time as the run's summary tells it, and validations beside it. */
  time: {
    per_step: Parts & { total: number };
    training: number;
    /** The same if every response is as long as allowed. */
    training_longest_responses: number;
    validation: number;
    total: number;
  } | null;
  calibration: (Speeds & { role: string })[];
  unknown: string[];
  /** With `--ranks`. */
  ranks?: RanksPlan;
}

/**
 * @param options.calibrated false leaves the time out
 * @param options.memory bytes of the machine, or of the card that computes
 * @param options.ranks also plans the run on so many processes, each on a machine like this one
 */
export function planRun(
  config: TrainConfig,
  inputs: PlanInputs,
  backend: BackendInfo,
  options: {
    memory: { total: number; available: number; card?: boolean };
    calibrated: boolean;
    ranks?: { count: number; network: Network } | undefined;
  },
): Plan {
  const { models, data } = inputs;
  const { total, available, card } = options.memory;
  const logitsBudget = card ? teacherLogitsBudget(Math.max(0, available - weightsOf(models))) : undefined;
  const works = {
    gold: work(config, inputs, 'gold', logitsBudget),
    longest: work(config, inputs, 'longest', logitsBudget),
  };
  const likely = data.bounds ? works.longest : works.gold;
  const schedule = scheduleOf(config, data.trainRows);
  const checkpointing = config.train.gradient_checkpointing;
  const flops = (jobs: readonly Job[]): Parts => byPart(jobs, (job) => flopsOf(job, models, checkpointing));
  const step = flops(likely.step);
  const all = {
    training: sum(step) * config.train.steps,
    before_first_step: sum(flops(likely.once)),
    validation: sum(flops(likely.validation)) * schedule.validations,
  };
  const onCard = card ? { inUse: total - available, logitsBudget } : {};
  const memory = memoryOf(config, inputs, onCard);
  const exchanged = (options.ranks?.count ?? 1) > 1;
  const speeds = options.calibrated
    ? calibrateAll(config, likely, models, backend, { memory: available, exchanged })
    : [];
  const time =
    speeds.length === models.length
      ? timeOf(config, works, likely, schedule, models, speeds as Speeds[], checkpointing)
      : null;
  const n = models[0]!.size.trained;
  const kept = Math.min(schedule.checkpoints, config.checkpoint.keep);
  return {
    method: config.method,
    machine: {
      backend: backend.name,
      engine: backend.engine,
      threads: backend.threads,
      memory_total: total,
      memory_available: available,
      memory_of: card ? 'card' : 'machine',
    },
    models: models.map(({ role, source, config: c, size, weights, shared }) => ({
      ...{
        role,
        source,
        family: c.family,
        parameters: size.parameters,
        block_parameters: size.blocks,
        weights,
      },
      ...(role === 'student' && c.lora && { trained: size.trained }),
      ...(shared && { shared }),
    })),
    data: describeData(inputs),
    schedule,
    tokens_per_step: byPart(likely.step, (job) => job.tokens),
    flops_per_step: { ...step, total: sum(step) },
    flops: { ...all, total: sum(all) },
    memory: { ...memory, fits: memory.total <= total },
    disk: 12 * n * kept + 8 * n,
    time,
    calibration: speeds.flatMap((speed, i) => (speed ? [{ role: models[i]!.role, ...speed }] : [])),
    unknown: unknowns(config, inputs, time !== null),
    ...(options.ranks && {
      ranks: planRanks(
        { config, work: likely, schedule, models, ...options.ranks },
        time && (speeds as Speeds[]),
        {
          memory: memoryOf(config, inputs, onCard, options.ranks.count).total,
        },
      ),
    }),
  };
}

/** Bytes of every model's weights. */
function weightsOf(models: readonly PlannedModel[]): number {
  return models.reduce((sum, model) => sum + weightBytes(model), 0);
}

function work(
  config: TrainConfig,
  inputs: PlanInputs,
  responses: 'gold' | 'longest',
  logitsBudget: number | undefined,
): Work {
  const { models, data, hasText } = inputs;
  return workOf(config, {
    train: data.train,
    trainRows: data.trainRows ?? 0,
    valid: data.valid,
    teachers: models.length - 1,
    vocabulary: Math.min(...models.map((model) => model.config.vocabSize)),
    hasText,
    responses,
    logitsBudget,
  });
}

/** A measurement for every model, of the pass and the decode batch that it would have. */
export function calibrateAll(
  config: TrainConfig,
  { step, once, validation }: Work,
  models: readonly PlannedModel[],
  backend: BackendInfo,
  { memory, exchanged }: { memory: number; exchanged: boolean },
): (Speeds | undefined)[] {
  const jobs = [...step, ...once, ...validation];
  const passes = step.filter(({ kind }) => kind !== 'decode');
  const { tokens, rows } = passes.find(({ kind }) => kind === 'train')!.pass;
  const ofShard = config.train.batch_size / config.train.shards;
  const batch = Math.min(config.train.micro_batch_size ?? MICRO_BATCH, ofShard);
  const length = Math.max(2, Math.round(tokens / ofShard));
  return models.map((model, i) => {
    const decoded = jobs.filter((job) => job.model === i && job.decoding);
    const response = Math.max(1, Math.round((length * rows) / tokens));
    const width = Math.max(0, ...decoded.map((job) => Math.max(...job.decoding!.rows, 1)));
    const shape = { batch, length, response, rows: width, train: i === 0, exchanged };
    return calibrate(model.config, shape, backend, memory);
  });
}

function timeOf(
  config: TrainConfig,
  works: { longest: Work },
  likely: Work,
  schedule: Schedule,
  models: readonly PlannedModel[],
  speeds: readonly Speeds[],
  checkpointing: boolean,
): NonNullable<Plan['time']> {
  const seconds = (jobs: readonly Job[]): Parts =>
    byPart(jobs, (job) => secondsOf(job, models, speeds, checkpointing));
  const optimizer = optimizerSeconds({ config, work: likely, schedule, models, speeds }, 1);
  const perStep = { ...seconds(likely.step), optimizer };
  const training = (jobs: Work): number =>
    config.train.steps * (sum(seconds(jobs.step)) + optimizer) + sum(seconds(jobs.once));
  const validation = schedule.validations * sum(seconds(likely.validation));
  return {
    per_step: { ...perStep, total: sum(perStep) },
    training: training(likely),
    training_longest_responses: training(works.longest),
    validation,
    total: training(likely) + validation,
  };
}

function describeData({ data }: PlanInputs): Plan['data'] {
  const mean = (length: (s: Sequence) => number): number =>
    data.train.reduce((total, s) => total + length(s), 0) / data.train.length;
  const total = data.train.reduce((n, s) => n + s.promptIds.length + s.responseIds.length, 0);
  return {
    counted: data.bounds === undefined,
    bounds_because: data.bounds ?? null,
    train_rows: data.trainRows,
    dropped_rows: data.dropped,
    train_tokens: data.bounds ? null : total,
    mean_prompt_tokens: mean((s) => s.promptIds.length),
    mean_response_tokens: mean((s) => s.responseIds.length),
    validation_rows: data.valid.length,
    text_pieces: data.pieces,
  };
}
