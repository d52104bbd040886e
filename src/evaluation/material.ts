import { oneShard } from '../cluster/shards.js';
import type { Example } from '../data/examples.js';
import type { Model } from '../models/model.js';
import type { Pieces } from '../pieces.js';
import type { Tokenizer } from '../text/tokenizer.js';
import { type ChoiceScore, scoreChoices } from './choices.js';
import { type Generation, type GenerationOptions, type GenerationRequest, generate } from './generations.js';
import type { Need } from './requirements.js';
import { type PairScores, scorePairs, scoreTokens, type TokenScores } from './tokenScores.js';

/** Per seed, per prompt; metrics that draw nothing have one "seed". */
export type Values = number[][];

/** What metrics may look at; each part is made at most once, and only if a metric asks for it (`withMaterial`). */
export interface Material {
  examples: readonly Example[];
  /** [seed][prompt] samples of the model at temperature 1. */
  sampled(): Generation[][];
  greedy(): Generation[];
  /** [seed][prompt] samples of the teacher, for the seeds that it is asked about. */
  teacherSampled(): Generation[][];
  /** [seed][prompt] what model and teacher think of the model's samples of these seeds, and of the teacher's. */
  scored(): PairScores[][];
  teacherScored(): PairScores[][];
  /** The model on the first references. */
  gold(): TokenScores[];
  /** The model on the answers to choose from, of the examples that have them. */
  choices(): ChoiceScore[];
  text(generation: Generation): string;
}

/** A metric with a value for every prompt. */
export interface Metric {
  describe: string;
  needs?: readonly Need[];
  compute(material: Material): Values;
}

/** A metric of a whole set of responses: one number a seed, none a prompt. */
export interface SetMetric {
  describe: string;
  needs?: readonly Need[];
  compute(material: Material): (number | null)[];
}

export interface MaterialOptions extends GenerationOptions {
  /** Seeds of the samples, one response per prompt and seed. */
  seeds: readonly number[];
  /**
   * The teacher reads and writes for the first so many seeds only (default: all). Its exact divergences vary far less from sample to
   * sample than Rouge-L does, and cost more than all else.
   */
  teacherSeeds?: number;
}

export function gather(
  model: Model,
  teacher: Model | undefined,
  tokenizer: Tokenizer,
  examples: readonly Example[],
  options: MaterialOptions,
): Material {
  const vocabSize = Math.min(model.config.vocabSize, teacher?.config.vocabSize ?? Number.POSITIVE_INFINITY);
  const respond = (of: GenerationRequest['of'], seed: number, greedy = false): Pieces<Generation[]> =>
    generate(of === 'model' ? model : teacher!, examples, { of, seed, greedy, vocabSize }, options);
  const { batchSize, shards = oneShard } = options;
  const score = (generations: Generation[]): Pieces<PairScores[]> =>
    shards.map(generations, (own) => scorePairs(model, teacher!, own, batchSize));
  const asked = options.seeds.slice(0, options.teacherSeeds);
  const sampled = part(() => each(options.seeds, (seed) => respond('model', seed)));
  const teacherSampled = part(() => each(asked, (seed) => respond('teacher', seed)));
  return {
    examples,
    sampled: sampled.get,
    greedy: part(() => respond('model', 0, true)).get,
    teacherSampled: teacherSampled.get,
    scored: part(function* () {
      return yield* each((yield* sampled.made()).slice(0, asked.length), score);
    }).get,
    teacherScored: part(function* () {
      return yield* each(yield* teacherSampled.made(), score);
    }).get,
    gold: part(() => shards.map(examples, (own) => scoreTokens(model, own, batchSize))).get,
    choices: part(() => shards.map(examples, (own) => scoreChoices(model, own, batchSize))).get,
    text: (generation) => tokenizer.decode(generation.responseIds, { skipSpecial: true }).trim(),
  };
}

/** What `compute` makes of the material. A part that it asks for and that is not there yet is made, and it is asked again. */
export function* withMaterial<T>(compute: () => T): Pieces<T> {
  for (;;) {
    try {
      return compute();
    } catch (missing) {
      if (!(missing instanceof NotMade)) throw missing;
      yield* missing.make();
    }
  }
}

class NotMade {
  constructor(readonly make: () => Pieces<unknown>) {}
}

/** Sampling and scoring are done in pieces, and metrics are plain functions: a part that is not there is thrown to `withMaterial`. */
function part<T>(make: () => Pieces<T>): { get: () => T; made: () => Pieces<T> } {
  let value: { made: T } | undefined;
  const made = function* (): Pieces<T> {
    value ??= { made: yield* make() };
    return value.made;
  };
  const get = (): T => {
    if (!value) throw new NotMade(made);
    return value.made;
  };
  return { get, made };
}

function* each<A, B>(list: readonly A[], make: (a: A) => Pieces<B>): Pieces<B[]> {
  const results: B[] = [];
  for (const item of list) results.push(yield* make(item));
  return results;
}
