/** The rollouts of a MiniLLM round in this process, beside the same rollouts by two processes of one thread each. */
import * as tf from '@tensorflow/tfjs-core';
import { median } from '../../src/bench/measure.js';
import { type BenchSource, benchModels } from '../../src/bench/models.js';
import { randomRows, trainingBench } from '../../src/bench/training.js';
import { type Prompt, type RolloutOptions, rollout } from '../../src/rollout/engine.js';
import type { Trajectory } from '../../src/rollout/trajectory.js';
import { disposeParams } from '../../src/tensor/params.js';
import { minillm } from '../../src/training/minillm.js';
import { TeacherLogits } from '../../src/training/teacherLogits.js';
import { RolloutWorkers } from './rolloutWorkers.js';
import { clocked, type Row, rowOf, type Turn, takeTurns } from './turns.js';

export interface WorkerCase {
  name: string;
  source: BenchSource;
  /** Token ids of the prompts; a round has as many rollouts. */
  prompts: Int32Array[];
  maxNewTokens: number;
  /** Tokens that end a response; none: all are as long as allowed. */
  eosIds: readonly number[];
  /** The round's optimizer steps: responses of one, passes over the rollouts, tokens of a pretraining row (0: no such rows). */
  minibatch: number;
  innerEpochs: number;
  pretrainLength: number;
  turns: number;
}

const WORKERS = 2;
const ALPHA = 0.2;

/** Two rows: the rollouts, and the whole round with its optimizer steps, which are the same either way. */
export async function workerRows(work: WorkerCase): Promise<Row[]> {
  const { name, source, maxNewTokens, turns } = work;
  const { student, teacher } = await benchModels(source);
  const prompts: Prompt[] = work.prompts.map((ids, index) => ({ index, ids }));
  const vocab = Math.min(student.config.vocabSize, teacher!.config.vocabSize);
  const options = (round: number): RolloutOptions => ({
    ...{ temperature: 1, topK: 0, topP: 1, greedy: false, samples: 1, seed: 1, policyVersion: 0 },
    ...{ maxNewTokens, eosIds: work.eosIds, batchSize: 64, round },
  });
  const found: Record<'here' | 'away', Trajectory[][]> = { here: [], away: [] };
  const kept = new TeacherLogits();
  const workers = await RolloutWorkers.start(WORKERS, source);
  let taken: Record<'here' | 'away', Turn[]>;
  try {
    taken = await takeTurns(
      {
        here: () =>
          clocked(() => {
            const round = found.here.length;
            const models = { student, teachers: [teacher!] };
            const onTeacherLogits = kept.capture(models, round, prompts.length, maxNewTokens);
            if (!onTeacherLogits) throw new Error(`${name}: too many logits to be kept`);
            const given = { ...options(round), teacher: { model: teacher!, alpha: ALPHA }, onTeacherLogits };
            found.here.push(rollout(student, prompts, given));
          }),
        away: async () => {
          let theirs = 0;
          const turn = await clocked(async () => {
            const task = { alpha: ALPHA, options: options(found.away.length) };
            const result = await workers.rollout(student.params, prompts, task);
            const logits = tf.tensor2d(result.teacherLogits(vocab), [prompts.length * maxNewTokens, vocab]);
            tf.neg(logits).dispose(); // hands them to the engine, which waits for a first use
            logits.dispose();
            found.away.push(result.trajectories);
            theirs = result.cpuSeconds;
          });
          return { ...turn, cpu_s: turn.cpu_s + theirs };
        },
      },
      turns,
    );
  } finally {
    workers.close();
    kept.dispose();
  }
  disposeParams(student.params);
  disposeParams(teacher!.params);
  const pairs = found.here.flatMap((round, i) => round.map((t, j) => [t, found.away[i]![j]!] as const));
  const differing = pairs.filter(([a, b]) => String(a.responseIds) !== String(b.responseIds)).length;
  const what = `${name}, ${prompts.length} rollouts`;
  const inner = await innerSeconds(work);
  const withInner = (turn: Turn): Turn => ({
    seconds: turn.seconds + inner.seconds,
    cpu_s: turn.cpu_s + inner.cpu_s,
  });
  const notes = { responses_that_differ: differing, responses: pairs.length };
  return [
    rowOf('rollout workers', `rollouts, ${what}`, taken.here, taken.away, notes),
    rowOf('rollout workers', `round, ${what}`, taken.here.map(withInner), taken.away.map(withInner), {
      rollout_share: median(taken.here.map((t) => t.seconds / (t.seconds + inner.seconds))),
      most_possible: median(taken.here.map((t) => (t.seconds + inner.seconds) / inner.seconds)),
    }),
  ];
}

/** What all optimizer steps of the round take: the median of one pass's steps, times their number. */
async function innerSeconds(work: WorkerCase): Promise<Turn> {
  const { minibatch, innerEpochs, pretrainLength, maxNewTokens } = work;
  const models = await benchModels(work.source);
  const rollouts = Math.min(64, work.prompts.length); // the steps of a larger round are the same, only more
  const examples = work.prompts.map((promptIds) => ({ promptIds, responseIds: new Int32Array() }));
  const corpus =
    pretrainLength > 0 ? randomRows(models.student.config.vocabSize, 64, pretrainLength, 'corpus') : [];
  const settings = {
    method: 'minillm' as const,
    train: { batch_size: minibatch },
    objective: { alpha: ALPHA, ...(pretrainLength === 0 && { lm_coef: 0 }) },
    rollout: { rollouts, inner_epochs: innerEpochs, max_new_tokens: maxNewTokens, batch_size: 64 },
  };
  const run = trainingBench(models, minillm(), settings, examples, corpus, work.eosIds);
  await run.collect();
  const steps: Turn[] = [];
  const inPass = rollouts / minibatch;
  for (let i = 0; i <= inPass; i++) {
    const turn = await clocked(() => run.step());
    if (i > 0) steps.push(turn); // the first warms up
  }
  run.dispose();
  disposeParams(models.teacher!.params);
  const count = (work.prompts.length / minibatch) * innerEpochs;
  return {
    seconds: count * median(steps.map((t) => t.seconds)),
    cpu_s: count * median(steps.map((t) => t.cpu_s)),
  };
}
