import type { Example } from '../../src/data/examples.js';
import { type Model, withRecompute } from '../../src/models/model.js';
import { disposeState } from '../../src/optim/state.js';
import { integer, stream } from '../../src/random/streams.js';
import { disposeParams } from '../../src/tensor/params.js';
import { type TrainConfig, trainConfigSchema } from '../../src/training/config.js';
import { optimizerOf, type StepRecord, type TrainingHooks, trainingLoop } from '../../src/training/loop.js';
import type { Method, TrainingContext } from '../../src/training/method.js';
import { methods } from '../../src/training/methods.js';
import type { TrainingState } from '../../src/training/state.js';
import { everyPart } from './files.js';
import { type TinyShape, tinyModel } from './models.js';

export const VOCAB = 24;
export const EOS = 0;

/** A tiny world without files: a few random examples, a student, and teachers of two architectures. */
export interface WorldOptions {
  config: Record<string, unknown> & { method: string };
  student?: TinyShape;
  teacher?: TinyShape;
  examples?: number;
  corpus?: number;
  /** The student begins as a copy of the teacher. */
  twin?: boolean;
}

export interface World {
  context: TrainingContext & { train: Example[] };
  state: TrainingState;
  method: Method;
  run(hooks?: Partial<TrainingHooks>): Promise<StepRecord[]>;
  dispose(): void;
}

export function trainConfig(fields: Record<string, unknown> & { method: string }): TrainConfig {
  const { train, rollout, objective, ...rest } = fields as Record<string, object>;
  return trainConfigSchema.parse({
    student: 'in memory',
    data: {},
    rollout: { rollouts: 8, inner_epochs: 1, max_new_tokens: 6, ...rollout },
    train: { steps: 3, batch_size: 4, lr: 0.01, schedule: 'constant', weight_decay: 0, ...train },
    objective: { ...(fields.method === 'minillm' && everyPart), ...objective },
    ...rest,
  });
}

export function tinyWorld(options: WorldOptions): World {
  const config = trainConfig(options.config);
  const shape = { vocab: VOCAB, positions: 24, std: 0.25 };
  const teacherShape = { ...shape, std: 0.5, ...options.teacher };
  const own = options.twin
    ? tinyModel(2, teacherShape)
    : tinyModel(1, { ...shape, layers: 1, ...options.student });
  const student = withRecompute(own, config.train.gradient_checkpointing);
  const teachers: Model[] = [];
  if (config.method !== 'sft') teachers.push(tinyModel(2, teacherShape));
  if (config.method === 'babyllama') {
    teachers.push(tinyModel(3, { ...shape, std: 0.5, family: 'gpt2', vocab: VOCAB + 2 }));
  }
  const scratch = new Map<string, string>();
  const context: World['context'] = {
    config,
    student,
    teachers,
    train: tinyExamples(options.examples ?? 8),
    corpus: tinyCorpus(options.corpus ?? 0),
    eosIds: [EOS],
    scratch: {
      read: async (name) => scratch.get(name),
      write: async (name, text) => void scratch.set(name, text),
    },
    log: () => {},
  };
  const state: TrainingState = {
    step: 0,
    round: 0,
    stepInRound: 0,
    params: student.params,
    optimizer: optimizerOf(config).init(student.params),
    rollouts: [],
    best: null,
  };
  const method = methods[config.method]();
  return {
    context,
    state,
    method,
    async run(hooks = {}) {
      const records: StepRecord[] = [];
      await trainingLoop(context, method, state, {
        onStep: (record) => records.push(record),
        evaluate: async () => {},
        checkpoint: async () => {},
        stopping: () => false,
        ...hooks,
      });
      return records;
    },
    dispose() {
      method.dispose?.();
      disposeParams(state.params);
      disposeState(state.optimizer);
      if (state.value) disposeState(state.value);
      for (const teacher of teachers) disposeParams(teacher.params);
    },
  };
}

/** Prompts of 1 to 4 tokens and responses of 2 to 5, EOS included. */
export function tinyExamples(count: number): Example[] {
  const rng = stream(11, 'examples');
  const ids = (n: number): number[] => Array.from({ length: n }, () => 1 + integer(rng, VOCAB - 1));
  return Array.from({ length: count }, (_, i) => {
    const promptIds = Int32Array.from(ids(1 + (i % 4)));
    const responseIds = Int32Array.from([...ids(1 + (i % 4)), EOS]);
    return { instruction: `${i}`, input: '', outputs: [''], prompt: `${i}`, promptIds, responseIds };
  });
}

function tinyCorpus(count: number): Int32Array[] {
  const rng = stream(12, 'corpus');
  return Array.from({ length: count }, () => Int32Array.from({ length: 7 }, () => integer(rng, VOCAB)));
}

/** All parameters one after the other, by name. */
export function flatParams(state: TrainingState): Float64Array {
  return Float64Array.from(
    Object.keys(state.params)
      .sort()
      .flatMap((name) => Array.from(state.params[name]!.dataSync())),
  );
}

/** ‖a − b‖ / ‖b‖ */
export function relativeDistance(a: Float64Array, b: Float64Array): number {
  let [difference, size] = [0, 0];
  b.forEach((x, i) => {
    difference += (a[i]! - x) ** 2;
    size += x ** 2;
  });
  return Math.sqrt(difference / size);
}
