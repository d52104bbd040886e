import type { Example } from '../data/examples.js';
import { disposeModel, withRecompute } from '../models/model.js';
import { disposeState } from '../optim/state.js';
import { integer, stream } from '../random/streams.js';
import { deviceMemory, settle } from '../tensor/deviceMemory.js';
import { type TrainConfig, trainConfigSchema } from '../training/config.js';
import { optimizerOf, optimizerStep } from '../training/loop.js';
import type { Method, MicroBatch, TrainingContext } from '../training/method.js';
import type { TrainingState } from '../training/state.js';
import { teacherLogitsBudget } from '../training/teacherLogits.js';
import type { BenchModels } from './models.js';

/** `count` rows of random token ids. */
export function randomRows(vocab: number, count: number, length: number, purpose: string): Int32Array[] {
  const rng = stream(1, 'bench', purpose);
  return Array.from({ length: count }, () => Int32Array.from({ length }, () => integer(rng, vocab)));
}

type Settings = Pick<TrainConfig, 'method'> & {
  train: { batch_size: number } & Partial<TrainConfig['train']>;
  objective?: object;
  rollout?: object;
};

export interface StepParts {
  loss: number;
  /** Targets and the teacher's distributions. */
  constants_s: number;
  /** The norm of the gradient, clipping and AdamW. */
  optimizer_s: number;
}

/** The inside of a training run without its files: one state, its rounds of rollouts and its optimizer steps. */
export function trainingBench(
  { student, teacher, shards }: BenchModels,
  method: Method,
  { train, ...settings }: Settings,
  examples: readonly Pick<Example, 'promptIds' | 'responseIds'>[],
  corpus: Int32Array[] = [],
  eosIds: readonly number[] = [],
) {
  const config = trainConfigSchema.parse({
    ...settings,
    student: 'student',
    data: {},
    train: {
      ...{ lr: 1e-5, ...train, micro_batch_size: train.batch_size, steps: 1, schedule: 'constant' },
      ...(shards && { shards: shards.count }),
    },
  });
  const optimizer = optimizerOf(config);
  const initial = student.params;
  const state: TrainingState = {
    step: 0,
    round: 0,
    stepInRound: 0,
    params: initial,
    optimizer: optimizer.init(initial),
    rollouts: [],
    best: null,
  };
  const card = deviceMemory();
  const context: TrainingContext = {
    config,
    ...(card && { teacherLogitsBytes: teacherLogitsBudget(card.free) }),
    student: withRecompute(student, config.train.gradient_checkpointing),
    teachers: teacher ? [teacher] : [],
    ...(shards && { shards }),
    train: examples.map((ids) => ({ ...ids, instruction: '', input: '', outputs: [], prompt: '' })),
    corpus,
    eosIds,
    scratch: { read: async () => undefined, write: async () => {} },
    log: () => {},
  };
  return {
    async collect(): Promise<void> {
      state.round++;
      state.stepInRound = 0;
      await method.collect!(context, state);
    },
    /** One optimizer step: its loss, and the seconds that parts of it took. */
    step(): StepParts {
      let [constants_s, optimizer_s] = [0, 0];
      const clocked = <A extends unknown[], R>(work: (...args: A) => R) => {
        return (...args: A): R => {
          const from = performance.now();
          const result = work(...args);
          settle();
          optimizer_s += (performance.now() - from) / 1000;
          return result;
        };
      };
      const plan = method.step(context, state);
      const micro = plan.micro.map(
        (part): MicroBatch => ({
          ...part,
          constants() {
            const from = performance.now();
            const constants = part.constants();
            settle();
            constants_s += (performance.now() - from) / 1000;
            return constants;
          },
        }),
      );
      const { globalNorm, step } = optimizer;
      const onTheClock = { ...optimizer, globalNorm: clocked(globalNorm), step: clocked(step) };
      const { loss } = optimizerStep(onTheClock, { ...plan, micro }, state, context);
      state.step++;
      state.stepInRound++;
      return { loss: loss!, constants_s, optimizer_s };
    },
    dispose(): void {
      method.dispose?.();
      disposeState(state.optimizer);
      disposeModel({ ...student, params: state.params });
    },
  };
}
