/** What the time of a MiniLLM round goes into. */
import { median, timed } from '../../src/bench/measure.js';
import { benchModels, type Shape } from '../../src/bench/models.js';
import { type BenchSizes, roundBench, workloads } from '../../src/bench/workloads.js';
import { disposeParams } from '../../src/tensor/params.js';
import { engineClock } from './engineClock.js';

export interface RoundSizes {
  student: Shape;
  teacher: Omit<Shape, 'vocabSize'>;
  sizes: Pick<BenchSizes, 'batch' | 'promptLen' | 'maxResponse' | 'minibatch' | 'inner' | 'ptLen'>;
}

/** Seconds of one round. The first five add up to the round. */
export interface RoundParts {
  /** Sampling with the student alone, measured by itself, in turns with the rounds. */
  student_rollout: number;
  /** What sampling takes longer in the round: the teacher's decoding, the mixture, the KL, and keeping its logits. */
  teacher_in_rollout: number;
  /** Targets, the kept logits of a minibatch, and the teacher's on the pretraining rows. */
  teacher_in_updates: number;
  forward_backward: number;
  optimizer: number;
  /** Outside the native engine, by the engine's clock; contained in the five above. */
  javascript_in_rollout: number;
  javascript_in_updates: number;
}

/** Rounds and rollouts of the student alone take turns, `repeat` times after one unseen. Medians of every part. */
export async function measureRound(round: RoundSizes, repeat: number): Promise<RoundParts> {
  const sizes: BenchSizes = { ...round.sizes, seq: round.sizes.ptLen, alpha: 0.2 };
  const positions = 1 + Math.max(sizes.promptLen + sizes.maxResponse, sizes.ptLen);
  const models = await benchModels({ shape: round.student, teacherShape: round.teacher, positions });
  // A model of its own: training changes the parameters of the other in place.
  const alone = await benchModels({ shape: round.student, positions });
  const sampling = workloads.generate(alone, sizes);
  const run = roundBench(models, sizes);
  const clock = engineClock();
  const rounds: RoundParts[] = [];
  try {
    for (let i = 0; i <= repeat; i++) {
      const [, student] = await timed(() => sampling.run());
      const parts = await oneRound(run, student, clock);
      if (i > 0) rounds.push(parts);
    }
  } finally {
    clock.remove();
    run.dispose();
    disposeParams(alone.student.params);
    disposeParams(models.teacher!.params);
  }
  const names = Object.keys(rounds[0]!) as (keyof RoundParts)[];
  return Object.fromEntries(
    names.map((name) => [name, median(rounds.map((r) => r[name]))]),
  ) as unknown as RoundParts;
}

async function oneRound(
  run: ReturnType<typeof roundBench>,
  student_rollout: number,
  clock: ReturnType<typeof engineClock>,
): Promise<RoundParts> {
  let engine = clock.seconds();
  const [, rollout] = await timed(() => run.collect());
  const javascript_in_rollout = rollout - (clock.seconds() - engine);
  let [updates, teacher_in_updates, optimizer] = [0, 0, 0];
  engine = clock.seconds();
  for (let i = 0; i < run.steps; i++) {
    const [{ constants_s, optimizer_s }, seconds] = await timed(() => run.step());
    updates += seconds;
    teacher_in_updates += constants_s;
    optimizer += optimizer_s;
  }
  return {
    student_rollout,
    teacher_in_rollout: rollout - student_rollout,
    teacher_in_updates,
    forward_backward: updates - teacher_in_updates - optimizer,
    optimizer,
    javascript_in_rollout,
    javascript_in_updates: updates - (clock.seconds() - engine),
  };
}
