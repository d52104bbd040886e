import * as tf from '@tensorflow/tfjs-core';
import { alone, type Cluster } from '../cluster/cluster.js';
import { Shards } from '../cluster/shards.js';
import type { ModelConfig, ParameterSpec } from '../models/config.js';
import { familyOf } from '../models/families.js';
import { baseConfig, frozen, trainedParameters } from '../models/lora.js';
import { disposeModel, type Model } from '../models/model.js';
import { packSequences, responseLogits, type Sequence } from '../models/packed.js';
import { crossEntropy } from '../objectives/kd.js';
import { addGradients } from '../optim/accumulate.js';
import { adamw } from '../optim/adamw.js';
import { disposeState } from '../optim/state.js';
import { rollout } from '../rollout/engine.js';
import { plainSampling } from '../rollout/sampling.js';
import type { BackendInfo } from '../tensor/backend.js';
import { settle } from '../tensor/deviceMemory.js';
import { disposeParams, type Params, valueAndGrads } from '../tensor/params.js';
import { GradientTree } from '../training/gradientTree.js';
import { forwardFlops, modelSize, trainFlops } from './flops.js';
import { trainingPasses } from './passes.js';

/** How fast this machine is with a model, measured. */
export interface Speeds {
  /** Layers and tokens of the pass that was measured: the model's own, or fewer. */
  layers: number;
  tokens: number;
  /** FLOP/s of a forward pass, and of forward and backward together (absent for a teacher). */
  forward: number;
  train?: number;
  /** Seconds of a decoding step of the whole model: fixed, and for every row. */
  stepFixed: number;
  stepRow: number;
  /** Seconds a parameter: AdamW with the norm of the gradient, and adding a gradient to another. */
  update?: number;
  add?: number;
  /** Seconds a parameter of handing a gradient to a partner that answers at once, of adding its half and taking the sum back. */
  hand?: number;
}

export interface CalibrationShape {
  /** Sequences of a micro-batch, and tokens of one. */
  batch: number;
  length: number;
  /** Of these, tokens that meet the vocabulary. */
  response: number;
  /** Rows of the decode batch; 0: nothing is decoded. */
  rows: number;
  /** Whether it is trained. */
  train: boolean;
  /** Whether its gradients go to other ranks. */
  exchanged?: boolean;
}

/**
 * Operations of one measured pass: a second or less on each backend as measured (tensor/backend.ts), and on a card of 10 TFLOP/s.
 */
const budgets: Record<BackendInfo['name'], number> = { cuda: 1e13, tensorflow: 1e11, wasm: 1.5e10, cpu: 5e8 };
const DECODED = 6;

/**
 * Times one forward pass, one backward pass, one optimizer step and a few decoding steps of a model of the given shape with
 * all weights alike (time does not depend on what they are). A model that is too large for a second of this is cut: to fewer
 * layers first, then to fewer sequences and shorter ones. Every measurement is the quicker of two after one unseen.
 *
 * @param memory bytes that may be used @returns undefined when even one layer does not fit
 */
export function calibrate(
  full: ModelConfig,
  shape: CalibrationShape,
  backend: BackendInfo,
  memory: number,
): Speeds | undefined {
  const { config, sequences } = cut(full, shape, budgets[backend.name]);
  // Weights, for training also gradients (three at a time when they are added up) and two moments.
  if (4 * modelSize(config).parameters * (shape.train ? 6 : 1.2) > memory) return undefined;
  const model = alikeModel(config);
  try {
    return {
      layers: config.layers,
      tokens: sequences.length * (sequences[0]!.promptIds.length + sequences[0]!.responseIds.length - 1),
      ...passSpeeds(model, sequences, shape),
      ...decodeSpeeds(model, full, shape.rows),
    };
  } finally {
    disposeModel(model);
  }
}

/** The largest part of the work that the budget allows. */
function cut(full: ModelConfig, shape: CalibrationShape, budget: number) {
  const cost = (config: ModelConfig, batch: number, length: number): number =>
    trainFlops(modelSize(config), {
      tokens: batch * length,
      pairs: (batch * length * length) / 2,
      rows: (batch * length * shape.response) / shape.length,
    });
  let { batch, length } = shape;
  let config = full;
  while (config.layers > 1 && cost(config, batch, length) > budget)
    config = withLayers(config, Math.ceil(config.layers / 2));
  while (batch > 1 && cost(config, batch, length) > budget) batch = Math.ceil(batch / 2);
  while (length > 64 && cost(config, batch, length) > budget) length = Math.ceil(length / 2);
  const response = Math.max(1, Math.round((length * shape.response) / shape.length));
  const ids = (n: number): number[] => new Array<number>(n).fill(0);
  const sequence: Sequence = { promptIds: ids(Math.max(1, length - response)), responseIds: ids(response) };
  return { config, sequences: Array.from({ length: batch }, () => sequence) };
}

function alikeModel(config: ModelConfig): Model {
  const alike = (specs: Record<string, ParameterSpec>): Params =>
    Object.fromEntries(Object.entries(specs).map(([name, { shape }]) => [name, tf.fill(shape, 0.01)]));
  const params = alike(trainedParameters(config));
  if (!config.lora) return { config, params };
  const base = baseConfig(config);
  return { config, params, base: frozen(alike(familyOf(base).parameters(base))) };
}

/** The same model with fewer layers. */
function withLayers(config: ModelConfig, layers: number): ModelConfig {
  const fewer = { ...config, layers };
  const { lora } = config;
  if (!lora) return fewer;
  const all = familyOf(fewer).parameters(fewer);
  const maps = Object.entries(lora.maps).filter(([name]) => `${name}.weight` in all);
  return {
    ...fewer,
    lora: { ...lora, maps: Object.fromEntries(maps), saved: lora.saved.filter((name) => name in all) },
  };
}

function passSpeeds(model: Model, sequences: readonly Sequence[], { train, exchanged }: CalibrationShape) {
  const size = modelSize(model.config);
  const [work] = trainingPasses(sequences, sequences.length);
  const batch = packSequences(sequences);
  const targets = (): tf.Tensor1D => tf.tensor1d(batch.targets, 'int32');
  const forward_s = quickest(() => {
    tf.tidy(() => void crossEntropy(responseLogits(model.params, model, batch), targets()).dataSync());
  });
  const forward = forwardFlops(size, work!) / forward_s;
  if (!train) return { forward };
  const backward = (): Params => {
    const ids = targets();
    const { value, grads } = valueAndGrads(
      (p) => tf.mean(crossEntropy(responseLogits(p, model, batch), ids)) as tf.Scalar,
      model.params,
    );
    value.dataSync();
    tf.dispose([value, ids]);
    return grads;
  };
  const train_s = quickest(() => disposeParams(backward()));
  let grads = backward();
  const add_s = quickest(() => {
    grads = addGradients(grads, Object.fromEntries(Object.entries(grads).map(([k, g]) => [k, g.clone()])));
  });
  const optimizer = adamw({ learningRate: 1e-6, clip: 1 });
  let state = optimizer.init(model.params);
  const update_s = quickest(() => {
    const norm = optimizer.globalNorm(grads);
    const next = optimizer.step(grads, state, model.params, norm);
    model.params = next.params;
    state = next.state;
  });
  const hand_s = exchanged
    ? quickest(() => {
        const tree = new GradientTree(new Shards(2, echo));
        tree.add(grads);
        grads = tree.total();
      })
    : undefined;
  disposeParams(grads);
  disposeState(state);
  return {
    forward,
    train: trainFlops(size, work!) / train_s,
    update: update_s / size.trained,
    add: add_s / size.trained,
    ...(hand_s !== undefined && { hand: hand_s / size.trained }),
  };
}

/** A partner whose messages are there at once: those that it was sent. What is lent is memory of its own, kept as that of gradients is. */
const lent = new Map<number, ArrayBuffer>();
const echo: Cluster = {
  ...alone,
  size: 2,
  memory(_, bytes) {
    if (!lent.has(bytes)) lent.set(bytes, new ArrayBuffer(bytes));
    return lent.get(bytes)!;
  },
  exchange(_, out, into) {
    into.set(out.subarray(0, into.length));
    return { wait() {} };
  },
};

/** Two sizes of the batch give what a step costs by itself and what a row adds; both grow with the model. */
function decodeSpeeds(model: Model, full: ModelConfig, rows: number): { stepFixed: number; stepRow: number } {
  if (rows === 0) return { stepFixed: 0, stepRow: 0 };
  const one = { tokens: 1, pairs: 32, rows: 1 };
  const scale = forwardFlops(modelSize(full), one) / forwardFlops(modelSize(model.config), one);
  const few = Math.max(1, Math.floor(rows / 4));
  const step = (count: number): number =>
    Math.max(0, answering(model, count, 1 + DECODED) - answering(model, count, 1)) / DECODED;
  const many_s = step(rows);
  const few_s = rows === few ? many_s : Math.min(many_s, step(few));
  const stepRow = rows === few ? 0 : (many_s - few_s) / (rows - few);
  return { stepFixed: Math.max(0, many_s - stepRow * rows) * scale, stepRow: stepRow * scale };
}

function answering(model: Model, rows: number, tokens: number): number {
  const prompts = Array.from({ length: rows }, (_, index) => ({ index, ids: new Array<number>(16).fill(0) }));
  return quickest(
    () =>
      void rollout(model, prompts, {
        ...plainSampling,
        samples: 1,
        maxNewTokens: tokens,
        eosIds: [],
        seed: 1,
        round: 0,
        batchSize: rows,
        policyVersion: 0,
      }),
  );
}

function quickest(work: () => void): number {
  work();
  settle();
  return Math.min(...[0, 1].map(() => clock(work)));
}

function clock(work: () => void): number {
  const from = performance.now();
  work();
  settle();
  return (performance.now() - from) / 1000;
}
