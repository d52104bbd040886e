import type { Example } from '../data/examples.js';
import type { Sequence } from '../models/packed.js';
import { type Pieces, paused } from '../pieces.js';
import { answerSampling, answers } from './answers.js';
import type { Method, TrainingContext } from './method.js';
import type { TrainingState } from './state.js';
import { batchOf, type ResponseLoss, supervised } from './supervised.js';

/** Where the responses of an optimizer batch come from, always to the prompts of that batch but for `replay`. */
export type Source = 'gold' | 'student' | 'teacher' | 'replay';

/** What is learnt from at one step, and where it came from. */
export interface Batch {
  source: Source;
  sequences: readonly Sequence[];
}

/**
 * A supervised method that may answer the prompts of a batch anew before it learns from them: every optimizer step is a
 * round of its own, sampled by the student as it is. No gradient flows through the sampling.
 *
 * @param choose the batch of a step @param validation where the responses of validation come from
 */
export function onPolicy(
  lossOf: (context: TrainingContext) => ResponseLoss,
  choose: (context: TrainingContext, state: TrainingState) => Pieces<Batch>,
  validation: 'gold' | 'student',
): Method {
  // Chosen in `collect`, used in the `step` that always follows it: no checkpoint can come between.
  let batch: Batch | undefined;
  const method = supervised(lossOf, {
    teachers: true,
    batch: () => batch!.sequences,
    ...(validation === 'student' && {
      validation: (context, examples) =>
        answers(context, context.student, examples, { ...answerSampling(context), round: 0 }),
    }),
  });
  return {
    ...method,
    step(context, state) {
      const plan = method.step(context, state);
      const written = batch!.source === 'teacher' ? plan.tokens : 0;
      return { ...plan, teacherTokens: plan.teacherTokens! + written };
    },
    stepsPerRound: () => 1,
    async collect(context, state) {
      batch = await paused(choose(context, state), context.pause);
      return { on_policy: batch.source === 'student' || batch.source === 'replay' ? 1 : 0 };
    },
  };
}

/** The prompts of this step's batch with responses of the given kind. */
export function* answered(
  source: Exclude<Source, 'replay'>,
  context: TrainingContext,
  state: TrainingState,
): Pieces<Batch> {
  const examples: Example[] = batchOf(context.train, context, state);
  if (source === 'gold') return { source, sequences: examples };
  const model = source === 'student' ? context.student : context.teachers[0]!;
  return {
    source,
    sequences: yield* answers(context, model, examples, { ...answerSampling(context), round: state.round }),
  };
}
