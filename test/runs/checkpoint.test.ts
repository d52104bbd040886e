import { cpSync, mkdirSync, readFileSync, renameSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import * as tf from '@tensorflow/tfjs-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { UsageError } from '../../src/errors.js';
import { adamw } from '../../src/optim/adamw.js';
import { flattenState } from '../../src/optim/state.js';
import { normal, stream } from '../../src/random/streams.js';
import type { Trajectory } from '../../src/rollout/trajectory.js';
import { readTrainConfig } from '../../src/runs/runConfig.js';
import { runTraining } from '../../src/runs/train.js';
import {
  readTrainingState,
  trajectoryFromJson,
  trajectoryToJson,
  writeTrainingState,
} from '../../src/runs/trainingState.js';
import { initBackend } from '../../src/tensor/backend.js';
import { newValueHead, trainValueHead } from '../../src/training/valueHead.js';
import { worldConfig, writeConfig, writeFileWorld, writeTinyModel } from '../helpers/files.js';
import { temporaryDirectory } from '../helpers/temporary.js';

const backend = await initBackend({ backend: 'cpu' });
const place = temporaryDirectory('checkpoint');
afterAll(place.remove);

describe('a saved training state comes back to the bit', () => {
  const rng = stream(1, 'bits');
  const floats = (n: number): Float32Array =>
    Float32Array.from({ length: n }, () => normal(rng) * 10 ** (20 * rng() - 10));
  const trajectory: Trajectory = {
    promptIndex: 3,
    sample: 1,
    promptIds: Int32Array.of(5, 6),
    responseIds: Int32Array.of(1, 2, 0),
    studentLogprobs: floats(3),
    teacherLogprobs: floats(3),
    behaviorLogprobs: Float32Array.of(-1e-45, -0.1, -3.4e38),
    kl: floats(3),
    entropy: floats(3),
    collision: floats(3),
    finished: true,
    policyVersion: 17,
    streamKey: '1/rollout/2/3/1',
  };

  it('trajectories, through the text of JSON', () => {
    const text = JSON.stringify(trajectoryToJson(trajectory));
    expect(trajectoryFromJson(JSON.parse(text), 'here')).toEqual(trajectory);
    const { teacherLogprobs: _, kl: __, ...alone } = trajectory;
    expect(trajectoryFromJson(JSON.parse(JSON.stringify(trajectoryToJson(alone))), 'here')).toEqual(alone);
  });

  it('moments, counts, place in the round, best', async () => {
    const params = { a: tf.tensor2d(floats(6), [2, 3]), b: tf.tensor1d(floats(2)) };
    const optimizer = adamw({ learningRate: 0.1 });
    const grads = { a: tf.tensor2d(floats(6), [2, 3]), b: tf.tensor1d(floats(2)) };
    const { params: next, state } = optimizer.step(grads, optimizer.init(params), params);
    const saved = {
      step: 7,
      round: 2,
      stepInRound: 3,
      params: next,
      optimizer: state,
      rollouts: [{ ...trajectory, values: floats(3) }],
      best: { step: 5, value: 1 / 3 },
    };
    const directory = join(place.path, 'state');
    const before = tf.memory().numTensors;
    await writeTrainingState(directory, saved);
    expect(tf.memory().numTensors).toBe(before);
    const found = await readTrainingState(directory, next, optimizer);
    expect({ ...found, optimizer: 0 }).toEqual({ ...saved, optimizer: 0 });
    const [one, two] = [flattenState(saved.optimizer), flattenState(found.optimizer)];
    expect(two.numbers).toEqual(one.numbers);
    const bits = (tensors: Record<string, tf.Tensor>) =>
      Object.fromEntries(Object.entries(tensors).map(([name, x]) => [name, Array.from(x.dataSync())]));
    expect(bits(two.tensors)).toEqual(bits(one.tensors));
  });
});

describe('the value head of a saved training state', () => {
  it('comes back to the bit, and only where it belongs', async () => {
    const options = { lr: 0.1, steps: 3 };
    const features = {
      sequences: [{ promptIds: [1], responseIds: [2, 0] }],
      hidden: tf.tensor2d([0.1, 0.7, -1, 3e-8], [2, 2]),
    };
    const value = trainValueHead(newValueHead(2, options), [features], [[Float64Array.of(1, -0.3)]], options);
    features.hidden.dispose();
    const params = { a: tf.tensor1d([1]) };
    const optimizer = adamw({ learningRate: 0.1 });
    const common = { step: 1, stepInRound: 1, params, rollouts: [], best: null };
    const directory = join(place.path, 'value');
    const state = { ...common, round: 1, optimizer: optimizer.init(params), value };
    await writeTrainingState(directory, state);
    const fresh = newValueHead(2, options);
    const found = await readTrainingState(directory, params, optimizer, fresh);
    const bits = (head: typeof value) => {
      const { tensors, numbers } = flattenState(head);
      return [numbers, Object.entries(tensors).map(([name, x]) => [name, x.shape, [...x.dataSync()]])];
    };
    expect(bits(found.value!)).toEqual(bits(value));
    expect(found.value!.optimizer.adam.count).toBe(3);
    await expect(readTrainingState(directory, params, optimizer, fresh, 4)).rejects.toThrow(
      'state.json: of a run with 1 shards, expected 4 (train.shards)',
    );
    await expect(readTrainingState(directory, params, optimizer)).rejects.toThrow(
      /"value\/.*" belongs to another model or optimizer/,
    );
    await expect(readTrainingState(directory, params, optimizer, newValueHead(3, options))).rejects.toThrow(
      /"value\/params\/weight": shape \[2,1\] found, shape \[3,1\] expected/,
    );
    // Before the first round there is none.
    const { value: _, ...before } = state;
    await writeTrainingState(directory, { ...before, step: 0, round: 0 });
    expect((await readTrainingState(directory, params, optimizer, fresh)).value).toBeUndefined();
  });
});

describe('a torn or hostile checkpoint gives one line', () => {
  let image: string;
  let config: string;
  let other: string;
  beforeAll(async () => {
    const world = await writeFileWorld(place.path);
    other = join(place.path, 'other');
    await writeTinyModel(other, 5, { hidden: 8 });
    config = writeConfig(
      join(place.path, 'run.yaml'),
      worldConfig(world, 'minillm', { train: { steps: 3 }, eval: { every: 0, prompts: 1 } }),
    );
    image = join(place.path, 'image');
    let step = 0;
    const run = readTrainConfig(config, []).then((c) =>
      runTraining(c, image, {
        resume: false,
        backend,
        log: () => {},
        quiet: true,
        onStep: () => void step++,
        stopping: () => step >= 2,
      }),
    );
    // Stopped in the middle of a round, so that rollouts are under way.
    await expect(run).rejects.toThrow('stopped at step');
    expect(
      readFileSync(join(image, 'checkpoints/2/training-state/rollouts.jsonl'), 'utf8').split('\n'),
    ).toHaveLength(9);
  });

  const state = 'training-state/state.json';
  const rollouts = 'training-state/rollouts.jsonl';
  const edit = (file: string, change: (text: string) => string) => (at: string) => {
    writeFileSync(join(at, file), change(readFileSync(join(at, file), 'utf8')));
  };
  const json = (change: Record<string, unknown>) =>
    edit(state, (text) => JSON.stringify({ ...JSON.parse(text), ...change }));
  const firstRollout = (change: Record<string, unknown>) =>
    edit(rollouts, (text) => {
      const [first, ...rest] = text.split('\n');
      return [JSON.stringify({ ...JSON.parse(first!), ...change }), ...rest].join('\n');
    });
  const cut = (file: string) => (at: string) => truncateSync(join(at, file), 40);
  const remove = (file: string) => (at: string) => rmSync(join(at, file));

  const cases: [string, (at: string) => void, RegExp][] = [
    ['weights cut off', cut('model.safetensors'), /model\.safetensors: /],
    ['weights missing', remove('model.safetensors'), /no model\.safetensors/],
    [
      'weights of another model',
      (at) => {
        for (const name of ['model.safetensors', 'config.json']) cpSync(join(other, name), join(at, name));
      },
      /is not that of the student this run began with/,
    ],
    [
      'config.json gone wrong',
      edit('config.json', (text) => text.slice(0, 30)),
      /config\.json: not (valid )?JSON/,
    ],
    ['moments cut off', cut('training-state/optimizer.safetensors'), /optimizer\.safetensors: /],
    ['moments missing', remove('training-state/optimizer.safetensors'), /optimizer\.safetensors/],
    ['state.json cut off', cut(state), /state\.json: not valid JSON; the checkpoint is damaged/],
    ['state.json missing', remove(state), /state\.json: cannot be read \(ENOENT\)/],
    ['state.json of another step', json({ step: 1 }), /state\.json is of step 1, expected 2 of 3/],
    ['a step that is no number', json({ step: '2' }), /state\.json: step: /],
    ['a step below 0', json({ step: -2 }), /state\.json: step: /],
    ['another format', json({ format: 2 }), /state\.json: format: /],
    ['an unknown field', json({ surprise: 1 }), /state\.json: Unrecognized key: "surprise"/],
    ['an optimizer number missing', json({ optimizer: {} }), /training-state: optimizer state: number /],
    [
      'a prototype in state.json',
      edit(state, (text) => text.replace('{', '{"__proto__": {"step": 9},')),
      /state\.json: /,
    ],
    ['rollouts missing', remove(rollouts), /rollouts\.jsonl: cannot be read/],
    [
      'too few rollouts',
      edit(rollouts, (text) => `${text.split('\n').slice(1).join('\n')}`),
      /has 7 rollouts, expected 8/,
    ],
    ['no rollouts', edit(rollouts, () => ''), /has 0 rollouts, expected 8/],
    ['a torn rollout', edit(rollouts, (text) => text.slice(0, -20)), /rollouts\.jsonl:8: not valid JSON/],
    ['a rollout that is no object', edit(rollouts, (text) => `7\n${text}`), /rollouts\.jsonl:1: /],
    [
      'a rollout with an id out of range',
      firstRollout({ prompt_ids: [99] }),
      /token id 99, outside the vocabulary/,
    ],
    [
      'a rollout with half a token id',
      firstRollout({ prompt_ids: [0.5] }),
      /rollouts\.jsonl:1: prompt_ids\.0/,
    ],
    ['a rollout without a prompt', firstRollout({ prompt_ids: [] }), /rollout 0 lacks a prompt/],
    ['a rollout without the teacher', firstRollout({ teacher_logprobs: undefined }), /rollout 0 lacks/],
    [
      'a rollout of uneven lists',
      firstRollout({ entropy: [1] }),
      /rollouts\.jsonl:1: entropy has 1 entries, expected \d/,
    ],
  ];
  it.each(cases)('%s', async (name, damage, expected) => {
    const out = join(place.path, `hostile-${name.replace(/\W/g, '-')}`);
    cpSync(image, out, { recursive: true });
    const at = join(out, 'checkpoints', '2');
    damage(at);
    const metrics = readFileSync(join(out, 'metrics.jsonl'), 'utf8');
    const error = await runTraining(await readTrainConfig(config, []), out, {
      resume: true,
      backend,
      log: () => {},
      quiet: true,
      stopping: () => false,
    }).then(
      () => undefined,
      (e: Error) => e,
    );
    expect(error).toBeInstanceOf(UsageError);
    expect(error!.message).toMatch(expected);
    expect(error!.message).not.toContain('\n');
    expect(error!.message).toContain(`; delete ${at} and --resume goes on from what was saved before it`);
    expect(readFileSync(join(out, 'metrics.jsonl'), 'utf8'), 'nothing was written').toBe(metrics);
  });

  it('a checkpoint beyond the last step', async () => {
    const out = join(place.path, 'beyond');
    cpSync(image, out, { recursive: true });
    renameSync(join(out, 'checkpoints/2'), join(out, 'checkpoints/9'));
    json({ step: 9 })(join(out, 'checkpoints/9'));
    const run = runTraining(await readTrainConfig(config, []), out, {
      resume: true,
      backend,
      log: () => {},
      quiet: true,
      stopping: () => false,
    });
    await expect(run).rejects.toThrow('is of step 9, expected 9 of 3');
  });

  it('what is no checkpoint is not taken for one', async () => {
    const out = join(place.path, 'strangers');
    cpSync(image, out, { recursive: true });
    for (const name of ['latest', '5x', '-1']) mkdirSync(join(out, 'checkpoints', name));
    const summary = await runTraining(await readTrainConfig(config, []), out, {
      resume: true,
      backend,
      log: () => {},
      quiet: true,
      stopping: () => false,
    });
    expect(summary.steps).toBe(3);
  });
});
