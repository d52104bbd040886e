import { type Example, firstExamples } from '../data/examples.js';
import { UsageError } from '../errors.js';
import type { Sequence } from '../models/packed.js';
import { type Pieces, paused } from '../pieces.js';
import { plainSampling } from '../rollout/sampling.js';
import type { Trajectory } from '../rollout/trajectory.js';
import { answers } from './answers.js';
import { kd } from './kd.js';
import type { Method, TrainingContext } from './method.js';
import { allTokens, batchOf, sharedVocabulary } from './supervised.js';

const FILE = 'pseudo-responses.jsonl';

/**
 * Sequence-level distillation (Kim & Rush, arXiv 1606.07947): the teacher answers every training prompt once
 * (temperature 1, no truncation) and the student learns from those answers as in `kd`, the teacher term included,
 * which is what LMOps runs under this name. The answers are sampled once, kept in the run directory, and read back
 * on resume.
 */
export function seqkd(): Method {
  let pseudo: Sequence[] = [];
  let validation: Sequence[] | undefined;
  const method = kd({
    batch: (context, state) => batchOf(pseudo, context, state),
    *validation(context, examples) {
      validation ??= yield* teacherAnswers(context, examples);
      return validation;
    },
  });
  return {
    ...method,
    step(context, state) {
      const plan = method.step(context, state);
      // Its answers are the teacher's work too, and done before the first step.
      const written = state.step === 0 ? allTokens(pseudo) : 0;
      return { ...plan, teacherTokens: plan.teacherTokens! + written };
    },
    async prepare(context) {
      const saved = await context.scratch.read(FILE);
      const responses = saved === undefined ? await sampleTeacher(context) : parse(saved, context);
      pseudo = firstExamples(context.train).map((example, i) => ({
        promptIds: example.promptIds,
        responseIds: responses[i]!,
      }));
    },
  };
}

async function sampleTeacher(context: TrainingContext): Promise<number[][]> {
  const { train, log } = context;
  log(`seqkd: the teacher answers ${train.length} training prompts`);
  const answers = await paused(teacherAnswers(context, firstExamples(train)), context.pause);
  const responses = answers.map((t) => Array.from(t.responseIds));
  await context.scratch.write(FILE, responses.map((ids) => `${JSON.stringify(ids)}\n`).join(''));
  return responses;
}

function teacherAnswers(context: TrainingContext, examples: readonly Example[]): Pieces<Trajectory[]> {
  return answers(context, context.teachers[0]!, examples, { ...plainSampling, round: 0 });
}

function parse(text: string, context: TrainingContext): number[][] {
  const file = context.scratch.place?.(FILE) ?? FILE;
  const rows = text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => parseIds(line, sharedVocabulary(context)));
  const mend = 'delete it and they are sampled again';
  if (rows.length !== context.train.length) {
    throw new UsageError(`${file}: ${rows.length} responses for ${context.train.length} prompts; ${mend}`);
  }
  const bad = rows.indexOf(undefined);
  if (bad >= 0) throw new UsageError(`${file}:${bad + 1}: expected a list of token ids; ${mend}`);
  return rows as number[][];
}

function parseIds(line: string, vocabSize: number): number[] | undefined {
  try {
    const ids: unknown = JSON.parse(line);
    const valid = Array.isArray(ids) && ids.length > 0;
    return valid && ids.every((id) => Number.isInteger(id) && id >= 0 && id < vocabSize) ? ids : undefined;
  } catch {
    return undefined;
  }
}
