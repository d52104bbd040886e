import * as tf from '@tensorflow/tfjs-core';
import type { Example } from '../../src/data/examples.js';
import { scorePairs } from '../../src/evaluation/tokenScores.js';
import { newModelConfig } from '../../src/models/families.js';
import { initModel, type Model } from '../../src/models/model.js';
import { disposeState } from '../../src/optim/state.js';
import { whole } from '../../src/pieces.js';
import { permutation, stream } from '../../src/random/streams.js';
import { rollout } from '../../src/rollout/engine.js';
import { plainSampling } from '../../src/rollout/sampling.js';
import { disposeParams } from '../../src/tensor/params.js';
import { type TrainConfig, trainConfigSchema } from '../../src/training/config.js';
import { optimizerOf, trainingLoop } from '../../src/training/loop.js';
import { methods } from '../../src/training/methods.js';

/** Token 0 ends a response, 1 ends a prompt, the letters follow. */
const EOS = 0;
const ASK = 1;
const FIRST = 2;

export interface World {
  letters: number;
  length: number;
  copy_share: number;
  train_prompts: number;
  test_prompts: number;
}

export interface Shape {
  hidden_size: number;
  layers: number;
  heads: number;
}

/** Everything that a training run here needs beside the method's own section. */
export type MethodConfig = Record<string, unknown> & { method: string; train: Record<string, unknown> };

/** Letters of every prompt, in a random order, cut into training and test. */
export function prompts(world: World): { train: number[][]; test: number[][] } {
  const { letters, length, train_prompts, test_prompts } = world;
  const order = permutation(letters ** length, stream(1, 'kl-geometry', 'prompts'));
  const words = Array.from(order.subarray(0, train_prompts + test_prompts), (n) =>
    Array.from({ length }, (_, i) => Math.floor(n / letters ** i) % letters),
  );
  return { train: words.slice(0, train_prompts), test: words.slice(train_prompts) };
}

/** The two right answers: the letters themselves, and each one's successor (the last one's is the first). */
export function answers(word: readonly number[], letters: number): { copy: number[]; shift: number[] } {
  return { copy: [...word], shift: word.map((letter) => (letter + 1) % letters) };
}

/** Two examples a prompt, each with one of the two answers at random: what the teacher learns from. */
export function examples(words: readonly (readonly number[])[], world: World): Example[] {
  return [...words, ...words].map((word, i) => {
    const copies = stream(1, 'kl-geometry', 'kind', i)() < world.copy_share;
    const answer = answers(word, world.letters)[copies ? 'copy' : 'shift'];
    return {
      ...{ instruction: '', input: '', outputs: [''], prompt: '' },
      promptIds: Int32Array.from([...word.map((letter) => FIRST + letter), ASK]),
      responseIds: Int32Array.from([...answer.map((letter) => FIRST + letter), EOS]),
    };
  });
}

export function newModel(shape: Shape, world: World, seed: number): Model {
  const config = newModelConfig('llama', {
    vocabSize: FIRST + world.letters,
    hiddenSize: shape.hidden_size,
    layers: shape.layers,
    heads: shape.heads,
    maxPositions: 2 * world.length + 2,
    eosId: EOS,
  });
  return initModel(config, seed);
}

/** Tensors of its own: the optimizer writes into those it is given, and a clone shares them. */
export function copyOf(model: Model): Model {
  const copies = Object.entries(model.params).map(([name, x]) => [name, tf.tensor(x.dataSync(), x.shape)]);
  return { ...model, params: Object.fromEntries(copies) };
}

/** Trains a model in memory by one of the methods, through the loop that `minillm train` runs. Its parameters are replaced. */
export async function train(
  model: Model,
  teacher: Model | undefined,
  data: Example[],
  fields: MethodConfig,
  world: World,
): Promise<{ steps: number; seconds: number }> {
  const config: TrainConfig = trainConfigSchema.parse({
    student: 'in memory',
    data: {},
    ...fields,
    rollout: { max_new_tokens: world.length + 1, ...(fields.rollout as object | undefined) },
  });
  const optimizer = optimizerOf(config);
  const state = {
    ...{ step: 0, round: 0, stepInRound: 0, rollouts: [], best: null },
    params: model.params,
    optimizer: optimizer.init(model.params),
  };
  const method = methods[config.method]();
  const context = {
    ...{ config, student: model, teachers: teacher ? [teacher] : [], train: data, corpus: [], eosIds: [EOS] },
    scratch: { read: async () => undefined, write: async () => {} },
    log: () => {},
  };
  const started = performance.now();
  await trainingLoop(context, method, state, {
    ...{ onStep() {}, async evaluate() {}, async checkpoint() {}, stopping: () => false },
  });
  method.dispose?.();
  disposeState(state.optimizer);
  return { steps: state.step, seconds: (performance.now() - started) / 1000 };
}

/** What a model answers, as shares of its samples, and its divergences from the teacher. */
export interface Answered {
  copy: number;
  shift: number;
  /** Every letter is that of one answer or the other, but not of the same one throughout. */
  mixed: number;
  other: number;
  /** Per response, nats: KL(q‖p) on the model's samples, KL(p‖q) on the teacher's. */
  reverse_kl: number;
  forward_kl: number;
}

export function measure(
  model: Model,
  teacher: Model,
  words: readonly (readonly number[])[],
  world: World,
  samples: number,
): Answered {
  const sample = (from: Model) =>
    rollout(
      from,
      words.map((word, index) => ({ index, ids: [...word.map((letter) => FIRST + letter), ASK] })),
      {
        ...plainSampling,
        ...{ samples, maxNewTokens: world.length + 1, eosIds: [EOS], seed: 1, round: 0 },
        ...{ batchSize: 500, policyVersion: 0 },
      },
    );
  const own = sample(model);
  const kinds = own.map((t) =>
    kindOf(
      Array.from(t.responseIds, (id) => id - FIRST),
      words[t.promptIndex]!,
      world.letters,
    ),
  );
  const share = (kind: Kind): number => kinds.filter((k) => k === kind).length / kinds.length;
  const total = (list: Float32Array): number => list.reduce((sum, x) => sum + x, 0);
  const mean = (list: readonly number[]): number => list.reduce((sum, x) => sum + x, 0) / list.length;
  return {
    ...{ copy: share('copy'), shift: share('shift'), mixed: share('mixed'), other: share('other') },
    reverse_kl: mean(whole(scorePairs(model, teacher, own, 500)).map((s) => total(s.reverseKl))),
    forward_kl: mean(whole(scorePairs(model, teacher, sample(teacher), 500)).map((s) => total(s.forwardKl))),
  };
}

export type Kind = 'copy' | 'shift' | 'mixed' | 'other';

/** @param response letters and the end, counted from the first letter */
export function kindOf(response: readonly number[], word: readonly number[], letters: number): Kind {
  const { copy, shift } = answers(word, letters);
  const whole = response.length === word.length + 1 && response.at(-1) === EOS - FIRST;
  const is = (answer: readonly number[]): boolean => answer.every((letter, i) => response[i] === letter);
  if (!whole) return 'other';
  if (is(copy)) return 'copy';
  if (is(shift)) return 'shift';
  return copy.every((letter, i) => response[i] === letter || response[i] === shift[i]) ? 'mixed' : 'other';
}

export function disposeModel(model: Model): void {
  disposeParams(model.params);
}
