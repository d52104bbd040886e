import * as tf from '@tensorflow/tfjs-core';
import { createCache, decodeStep, disposeCache, prefill } from '../../src/models/cache.js';
import { familyOf, newModelConfig } from '../../src/models/families.js';
import { forwardHidden, headLogits, type Model } from '../../src/models/model.js';
import { adamw } from '../../src/optim/adamw.js';
import { nextTokens } from '../../src/rollout/nextToken.js';
import { plainSampling } from '../../src/rollout/sampling.js';
import { initBackend, type Precision, precisions } from '../../src/tensor/backend.js';
import { tokenLogprob } from '../../src/tensor/ops/index.js';
import { disposeParams, type Params, valueAndGrads } from '../../src/tensor/params.js';

/**
 * Two pieces of work at GPT-2's sizes on the card, a JSON line each: a training step (forward, backward, clip, AdamW) of 124M, batch
 * 16 of 512 tokens; and decoding of 128 tokens after 256 for 64 sequences, 124M and 1.5B. Random weights of the true shapes.
 *
 *     node --import tsx experiments/gpu/bench.ts sft,decode tf32,float32
 */
const SHAPES = { '124M': [12, 768, 12], '1.5B': [48, 1600, 25] } as const;
const VOCAB = 50_257;

const say = (line: Record<string, unknown>): void => void process.stdout.write(`${JSON.stringify(line)}\n`);

/** Weights repeat a block of small numbers: the time of a product does not depend on them, and 1.5 billion draws take a minute. */
function model(size: keyof typeof SHAPES): Model {
  const [layers, hiddenSize, heads] = SHAPES[size];
  const config = newModelConfig('gpt2', { vocabSize: VOCAB, hiddenSize, layers, heads, maxPositions: 1024 });
  const block = Float32Array.from({ length: 1 << 16 }, (_, i) => 0.02 * Math.sin(i * 12.9898));
  const params: Params = {};
  for (const [name, { shape, init }] of Object.entries(familyOf(config).parameters(config))) {
    const data = new Float32Array(shape.reduce((product, n) => product * n, 1));
    if (init === 'ones') data.fill(1);
    else if (init !== 'zeros')
      for (let at = 0; at < data.length; at += block.length)
        data.set(block.subarray(0, Math.min(block.length, data.length - at)), at);
    params[name] = tf.tensor(data, shape);
  }
  return { config, params };
}

/** Milliseconds of `n` runs after `warm` others: median, least, most. `f` ends by reading a number back. */
function clock(f: () => void, n: number, warm: number): { ms: number; lo: number; hi: number } {
  const times: number[] = [];
  for (let i = 0; i < n + warm; i++) {
    const start = performance.now();
    f();
    if (i >= warm) times.push(performance.now() - start);
  }
  times.sort((a, b) => a - b);
  return { ms: times[times.length >> 1]!, lo: times[0]!, hi: times[times.length - 1]! };
}

function memory(): Record<string, number> {
  const { device } = tf.memory() as unknown as { device?: { peak: number; inUse: number } };
  return device ? { peak_gb: device.peak / 1e9, in_use_gb: device.inUse / 1e9 } : {};
}

function sft(precision: Precision): void {
  const [batch, length] = [16, 512];
  const { config, params } = model('124M');
  const optimizer = adamw({ learningRate: 1e-4, beta2: 0.999, clip: 1 });
  let state = { params, state: optimizer.init(params) };
  const ids = Int32Array.from({ length: batch * length }, (_, i) => (i * 7919) % VOCAB);
  const targets = Int32Array.from(ids, (_, i) => ids[i + 1] ?? 0);
  const step = (): void => {
    const { value, grads } = valueAndGrads((p) => {
      const hidden = forwardHidden(p, config, ids, batch, length);
      const logprobs = tokenLogprob(headLogits(p, config, hidden), tf.tensor1d(targets, 'int32'));
      return tf.neg(tf.mean(logprobs)) as tf.Scalar;
    }, state.params);
    const { params, state: next } = optimizer.step(grads, state.state, state.params);
    disposeParams(grads);
    state = { params, state: next };
    value.dataSync();
    value.dispose();
  };
  say({ case: 'sft', precision, model: '124M', batch, seq: length, ...clock(step, 9, 3), ...memory() });
  disposeParams(state.params);
}

function decode(size: keyof typeof SHAPES, precision: Precision): void {
  const [batch, prompt, response] = [64, 256, 128];
  const net = model(size);
  const ids = Int32Array.from({ length: batch * prompt }, (_, i) => (i * 7919) % VOCAB);
  const uniforms = Array.from({ length: batch }, (_, i) => (i + 0.5) / batch);
  const run = (): void => {
    const cache = createCache(net.config, batch, prompt + response);
    const rows = Int32Array.from({ length: batch }, (_, b) => b * prompt + prompt - 1);
    let hidden = tf.tidy(() =>
      tf.gather(prefill(net, cache, ids, batch, prompt), tf.tensor1d(rows, 'int32')),
    );
    for (let t = 0; t < response; t++) {
      const logits = tf.tidy(() => headLogits(net.params, net.config, hidden as tf.Tensor2D));
      const { tokens } = nextTokens(logits, undefined, uniforms, plainSampling);
      tf.dispose([logits, hidden]);
      hidden = decodeStep(net, cache, tokens, new Int32Array(batch).fill(prompt + t));
    }
    hidden.dispose();
    disposeCache(cache);
  };
  const { ms, lo, hi } = clock(run, 3, 1);
  const perToken = { ms_per_token: ms / response, s: ms / 1e3, lo: lo / 1e3, hi: hi / 1e3 };
  say({ case: 'generate', precision, model: size, batch, prompt, response, ...perToken, ...memory() });
  disposeParams(net.params);
}

const [cases = 'sft,decode', list = 'tf32'] = process.argv.slice(2);
for (const name of list.split(',')) {
  const precision = precisions.find((known) => known === name);
  if (!precision) throw new Error(`${name}: one of ${precisions.join(', ')} expected`);
  const info = await initBackend({ backend: 'cuda', precision });
  say({ case: 'engine', engine: info.engine });
  if (cases.includes('sft')) sft(precision);
  if (cases.includes('decode')) for (const size of ['124M', '1.5B'] as const) decode(size, precision);
}
