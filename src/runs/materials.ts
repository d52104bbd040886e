import { join } from 'node:path';
import { corpusChunks } from '../data/corpus.js';
import {
  type Example,
  type ExampleLimits,
  type Examples,
  firstExamples,
  saySpecials,
} from '../data/examples.js';
import { openExamples } from '../data/storedExamples.js';
import { UsageError } from '../errors.js';
import { tokenizerDirectory } from '../models/adapter.js';
import type { ModelConfig } from '../models/config.js';
import { newModelConfig } from '../models/families.js';
import { disposeModel, initModel, type Model, withRecompute } from '../models/model.js';
import { loadTokenizer, type Tokenizer } from '../text/tokenizer.js';
import { withoutBos } from '../text/withoutBos.js';
import { isPolicyGradient, readsReferences, type TrainConfig } from '../training/config.js';
import { placeOfTeacher } from '../training/configParts.js';
import { objectiveOf } from '../training/minillm.js';
import { sharedVocabulary } from '../training/supervised.js';
import { withEndTokens } from './endTokens.js';
import { openTeacherCache } from './openTeacherCache.js';
import { withoutReferences } from './selection.js';
import { loadStudent } from './students.js';
import { openTeacher } from './teachers.js';
import { wordnetDirectory } from './wordnetCache.js';

/** Everything a run reads before it starts. */
export interface Materials {
  student: Model;
  teachers: Model[];
  /** What the teacher says of the plain text, where it lies in a cache. */
  textTeacher?: Model;
  tokenizer: Tokenizer;
  /** Directory whose tokenizer files every saved student gets a copy of. */
  tokenizerFrom: string;
  train: Examples;
  /** Empty without data.valid: nothing is validated then. */
  valid: Example[];
  corpus: Int32Array[];
}

/**
 * Loads models, tokenizer and data, and checks that they fit one another.
 *
 * @param keepRows training examples carry their rows, for rewards to look at
 * @throws UsageError in one line for the first thing that is missing, damaged or does not fit
 */
export async function loadMaterials(
  config: TrainConfig,
  log: (line: string) => void,
  keepRows = config.rewards !== undefined,
): Promise<Materials> {
  const tokenizerFrom =
    typeof config.student === 'string' ? await tokenizerDirectory(config.student) : config.student.tokenizer;
  const own = await loadTokenizer(tokenizerFrom);
  const tokenizer = config.data.bos ? own : withoutBos(own);
  const teacherPlaces = [config.teacher ?? []].flat().map(placeOfTeacher);
  const teacherTokenizers = new Map<string, Tokenizer>();
  for (const directory of teacherPlaces) {
    if (typeof directory !== 'string') continue; // a server is asked when the models are loaded
    const other = await loadTokenizer(await tokenizerDirectory(directory));
    assertSameTokenizer([tokenizerFrom, own], [directory, other]);
    teacherTokenizers.set(directory, other);
  }
  const data = await dataFiles(config, log);
  const load = async (file: string, split: 'training' | 'validation'): Promise<Examples> => {
    const what = `${split} data`;
    const loaded = await openExamples(file, tokenizer, {
      ...exampleLimits(config, split),
      keepRows: keepRows && split === 'training',
    });
    const { examples, dropped } = loaded;
    log(
      `${what}: ${examples.length} examples${dropped > 0 ? ` (${dropped} over the token limits dropped)` : ''}${Array.isArray(examples) ? '' : '; the file is large and stays on the disk'}`,
    );
    const specials = saySpecials(loaded, config.data.special_tokens);
    if (specials) log(`note: ${what}: ${specials}`);
    return examples;
  };
  const train = await load(data.train, 'training');
  const held = data.valid ? await load(data.valid, 'validation') : undefined;
  const valid = held ? firstExamples(held, config.eval.prompts) : [];
  held?.close?.();
  const unmeasured = withoutReferences(config, valid);
  if (unmeasured) log(`note: ${unmeasured}`);
  const usesCorpus = readsCorpus(config) && data.corpus !== undefined;
  const corpus = usesCorpus ? await corpusChunks(data.corpus!, tokenizer, config.pretrain.length) : [];
  const loaded =
    typeof config.student === 'string'
      ? await loadStudent(config.student, config, log)
      : newStudent(config.student, tokenizer, config.seed);
  const ending = withEndTokens(loaded, { directory: tokenizerFrom, tokenizer }, log);
  const student = withRecompute(ending, config.train.gradient_checkpointing);
  const teachers: Model[] = [];
  const run = { config, tokenizer, train, valid, corpus, files: data, log };
  if (config.method !== 'sft')
    for (const place of teacherPlaces) {
      const theirs = typeof place === 'string' ? teacherTokenizers.get(place) : undefined;
      teachers.push(await openTeacher(place, { ...run, student, ownTokenizer: own }, theirs));
    }
  for (const model of [student, ...teachers]) {
    checkTokenizer(model.config, tokenizer);
    checkContext(model.config, config, corpus.length > 0);
  }
  sayVocabularies(student, teachers, log);
  checkRound(config, train.length);
  const textCache = isPolicyGradient(config.method) ? config.pretrain.teacher_cache : undefined;
  const vocabulary = sharedVocabulary({ student, teachers });
  const textTeacher = textCache
    ? await openTeacherCache(textCache, { ...run, student: student.config, kind: 'text', vocabulary })
    : undefined;
  const loadedModels = { student, teachers, ...(textTeacher && { textTeacher }) };
  return { ...loadedModels, tokenizer, tokenizerFrom, train, valid, corpus };
}

/** Gives up models and open files. Not what a run has trained instead. */
export function closeMaterials({ student, teachers, textTeacher, train }: Materials): void {
  for (const model of [student, ...teachers]) disposeModel(model);
  train.close?.();
  for (const teacher of [...teachers, textTeacher]) teacher?.remote?.cache?.close();
}

/** How the rows of a split are read: a reference that nothing reads may be absent, and is never too long. */
export function exampleLimits(config: TrainConfig, split: 'training' | 'validation'): ExampleLimits {
  const { data, method } = config;
  const limits = {
    template: data.template,
    maxPromptTokens: data.max_prompt_tokens,
    maxTokens: data.max_tokens,
    specialTokens: data.special_tokens,
    turns: data.turns,
    chat: { args: data.template_args, date: data.date },
  };
  if (readsReferences(config)) return { ...limits, neededBy: method };
  return { ...limits, outputs: split === 'training' ? 'unread' : 'optional' };
}

/** Whether the method has a loss on plain text. */
export function readsCorpus(config: TrainConfig): boolean {
  const { method, distillm } = config;
  if (isPolicyGradient(method)) return objectiveOf({ config }).lm_coef > 0;
  return method === 'distillm' && distillm.lm_coef > 0;
}

/** Fresh weights for a student given as a shape. */
export function newStudent(
  shape: Exclude<TrainConfig['student'], string>,
  tokenizer: Tokenizer,
  seed: number,
): Model {
  return initModel(newStudentConfig(shape, tokenizer), seed);
}

/** The model that a student given as a shape is; its vocabulary is the tokenizer's. */
export function newStudentConfig(
  shape: Exclude<TrainConfig['student'], string>,
  tokenizer: Tokenizer,
): ModelConfig {
  const { family, hidden_size, layers, heads, kv_heads, intermediate_size, max_positions, tied_head } = shape;
  return newModelConfig(family, {
    vocabSize: tokenizer.vocabSize,
    hiddenSize: hidden_size,
    layers,
    heads,
    ...(kv_heads !== undefined && { kvHeads: kv_heads }),
    ...(intermediate_size !== undefined && { intermediateSize: intermediate_size }),
    maxPositions: max_positions,
    tiedHead: tied_head,
    eosId: tokenizer.eosId,
  });
}

/**
 * Different tokenizers give token ids different meanings: the KL between such models is a number about nothing.
 *
 * @param a, b directory and its tokenizer @throws UsageError naming both
 */
export function assertSameTokenizer(a: [string, Tokenizer], b: [string, Tokenizer]): void {
  if (a[1].fingerprint === b[1].fingerprint) return;
  throw new UsageError(
    `student and teacher have different tokenizers (${a[0]}: ${a[1].vocabSize} tokens, ${b[0]}: ${b[1].vocabSize}); ` +
      `use models that share one`,
  );
}

/** @throws UsageError when the tokenizer has ids that the model lacks */
export function checkTokenizer({ vocabSize }: ModelConfig, tokenizer: Tokenizer): void {
  if (vocabSize < tokenizer.vocabSize) {
    throw new UsageError(
      `the tokenizer has ${tokenizer.vocabSize} tokens and a model only ${vocabSize} (the model has no row for ${JSON.stringify(tokenizer.decode([tokenizer.vocabSize - 1]))}); use the tokenizer that belongs to it`,
    );
  }
}

/** @throws UsageError when a sequence that the configuration allows is longer than the model's context */
export function checkContext({ maxPositions }: ModelConfig, config: TrainConfig, usesCorpus: boolean): void {
  if (config.data.max_tokens > maxPositions) {
    throw new UsageError(
      `data.max_tokens: ${config.data.max_tokens} is more than a model's context of ${maxPositions}; lower it`,
    );
  }
  if (usesCorpus && config.pretrain.length > maxPositions) {
    throw new UsageError(
      `pretrain.length: ${config.pretrain.length} is more than a model's context of ${maxPositions}; lower it`,
    );
  }
  const longest = config.data.max_prompt_tokens + config.rollout.max_new_tokens;
  if (config.method !== 'sft' && longest > maxPositions) {
    throw new UsageError(
      `data.max_prompt_tokens + rollout.max_new_tokens is ${longest}, more than a model's context of ${maxPositions}; lower one of them`,
    );
  }
}

/** Checkpoints of one tokenizer may be padded to different sizes; every loss is over the ids that all models have. */
function sayVocabularies(student: Model, teachers: readonly Model[], log: (line: string) => void): void {
  const sizes = [student, ...teachers].map((model) => model.config.vocabSize);
  const shared = Math.min(...sizes);
  if (Math.max(...sizes) > shared) {
    log(`vocabularies of ${sizes.join(', ')} ids (student, teachers): the ${shared} that all have count`);
  }
}

/** The prompts of a round are different ones: their random streams are named by the prompt. */
export function checkRound({ method, rollout }: TrainConfig, examples: number): void {
  const prompts = rollout.rollouts / rollout.samples;
  if (isPolicyGradient(method) && prompts > examples) {
    throw new UsageError(
      `rollout.rollouts: a round asks ${prompts} different prompts and the training data has ${examples}; lower it`,
    );
  }
}

/** The files of the data section; the embedded WordNet set is built once per set of options and kept in the user's cache. */
export async function dataFiles(
  config: TrainConfig,
  log: (line: string) => void,
): Promise<{ train: string; valid?: string; corpus?: string }> {
  const { wordnet, train, valid, corpus } = config.data;
  if (!wordnet) return { train: train!, ...(valid && { valid }), ...(corpus && { corpus }) };
  const directory = await wordnetDirectory(wordnet, log);
  return {
    train: join(directory, 'train.jsonl'),
    valid: join(directory, 'valid.jsonl'),
    corpus: corpus ?? join(directory, 'corpus.txt'),
  };
}
