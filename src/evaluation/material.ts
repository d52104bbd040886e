import type { Example } from '../data/examples.js';
import type { Model } from '../models/model.js';
import type { Tokenizer } from '../text/tokenizer.js';
import { type ChoiceScore, scoreChoices } from './choices.js';
import { type Generation, type GenerationOptions, type GenerationRequest, generate } from './generations.js';
import type { Need } from './requirements.js';
import { type PairScores, scorePairs, scoreTokens, type TokenScores } from './tokenScores.js';

/** Per seed, per prompt; metrics that draw nothing have one "seed". */
export type Values = number[][];

/** What metrics may look at; each part is made at most once, and only if a metric asks for it. */
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
  const respond = (of: GenerationRequest['of'], seed: number, greedy = false): Generation[] =>
    generate(of === 'model' ? model : teacher!, examples, { of, seed, greedy, vocabSize }, options);
  const score = (seeds: Generation[][]): PairScores[][] =>
    seeds.map((generations) => scorePairs(model, teacher!, generations, options.batchSize));
  const asked = options.seeds.slice(0, options.teacherSeeds);
  const material: Material = {
    examples,
    sampled: once(() => options.seeds.map((seed) => respond('model', seed))),
    greedy: once(() => respond('model', 0, true)),
    teacherSampled: once(() => asked.map((seed) => respond('teacher', seed))),
    scored: once(() => score(material.sampled().slice(0, asked.length))),
    teacherScored: once(() => score(material.teacherSampled())),
    gold: once(() => scoreTokens(model, examples, options.batchSize)),
    choices: once(() => scoreChoices(model, examples, options.batchSize)),
    text: (generation) => tokenizer.decode(generation.responseIds, { skipSpecial: true }).trim(),
  };
  return material;
}

function once<T>(make: () => T): () => T {
  let value: { made: T } | undefined;
  return () => {
    value ??= { made: make() };
    return value.made;
  };
}
