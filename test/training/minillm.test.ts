import * as tf from '@tensorflow/tfjs-core';
import { describe, expect, it } from 'vitest';
import { resolveObjective } from '../../src/objectives/presets.js';
import { type RolloutOptions, rollout } from '../../src/rollout/engine.js';
import { initBackend } from '../../src/tensor/backend.js';
import { minillm } from '../../src/training/minillm.js';
import { pretrainingBatches, TextTeacher } from '../../src/training/pretraining.js';
import { TeacherLogits } from '../../src/training/teacherLogits.js';
import { everyPart } from '../helpers/files.js';
import { tinyWorld, VOCAB, type World } from '../helpers/training.js';

await initBackend({ backend: 'cpu' });

describe('what is logged', () => {
  const base = ['loss', 'response_length', 'grad_norm', 'lr'];
  const step = [
    ...base,
    ...['pg_loss', 'reg_loss', 'reverse_kl_k3', 'reverse_kl', 'reverse_kl_sequence', 'kl_new'],
    ...[
      'reward',
      'reward_sequence',
      'return',
      'advantage_mean',
      'advantage_std',
      'ratio',
      'clipped_fraction',
    ],
    ...['importance_weight', 'importance_weight_max', 'effective_sample_size', 'entropy', 'ended'],
  ];
  const round = ['rollouts', 'rollout_tokens', 'truncated'];

  it.each([
    ['sft', {}, base],
    ['kd', {}, [...base, 'ce_loss', 'kd_loss']],
    ['kd', { kd: { ratio: 0 } }, [...base, 'ce_loss']],
    ['seqkd', {}, [...base, 'ce_loss', 'kd_loss']],
    ['babyllama', {}, [...base, 'ce_loss', 'kd_loss']],
  ])('%s %j', async (method, fields, names) => {
    const world = tinyWorld({ config: { method, train: { steps: 1 }, ...fields } });
    const [record] = await world.run();
    world.dispose();
    expect(Object.keys(record!.metrics).sort()).toEqual([...names].sort());
    expect(Object.values(record!.metrics).every(Number.isFinite)).toBe(true);
  });

  it('minillm: at every step, the round with its first step, the pretraining loss only with a corpus', async () => {
    const names = async (fields: object, corpus: number): Promise<string[][]> => {
      const world = tinyWorld({ config: { method: 'minillm', train: { steps: 2 }, ...fields }, corpus });
      const records = await world.run();
      world.dispose();
      expect(records.every((r) => Object.values(r.metrics).every(Number.isFinite))).toBe(true);
      return records.map((record) => Object.keys(record.metrics).sort());
    };
    const pretraining = ['lm_loss', 'ds_loss', 'pt_loss'];
    const sorted = (...parts: string[][]): string[] => parts.flat().sort();
    expect(await names({}, 0)).toEqual([sorted(step, round), sorted(step)]);
    expect(await names({}, 4)).toEqual([sorted(step, round, pretraining), sorted(step, pretraining)]);
    // The paper's pretraining loss asks no teacher.
    const paper = { objective: { preset: 'paper' } };
    expect((await names(paper, 4))[1]).toEqual(sorted(step, ['lm_loss', 'pt_loss']));
    expect((await names({ objective: { lm_coef: 0 } }, 4))[1]).toEqual(sorted(step));
  });

  it('the numbers are those of the rollouts', async () => {
    const world = tinyWorld({
      config: { method: 'minillm', train: { steps: 1, batch_size: 8 }, objective: { preset: 'paper' } },
    });
    const [record] = await world.run();
    const { rollouts } = world.state;
    const m = record!.metrics;
    world.dispose();
    const flat = (f: (t: (typeof rollouts)[number]) => ArrayLike<number>): number[] =>
      rollouts.flatMap((t) => Array.from(f(t)));
    const mean = (x: number[]): number => x.reduce((a, b) => a + b, 0) / x.length;
    const logRatios = flat((t) => t.teacherLogprobs!.map((p, i) => p - t.studentLogprobs[i]!));
    const weights = flat((t) => t.studentLogprobs.map((q, i) => Math.exp(q - t.behaviorLogprobs[i]!)));
    expect(m.reward).toBeCloseTo(mean(logRatios), 5);
    expect(m.reverse_kl_k3).toBeCloseTo(mean(logRatios.map((r) => Math.exp(r) - 1 - r)), 5);
    expect(m.reverse_kl).toBeCloseTo(mean(flat((t) => t.kl!)), 5);
    expect(m.entropy).toBeCloseTo(mean(flat((t) => t.entropy)), 5);
    expect(m.importance_weight).toBeCloseTo(mean(weights), 5);
    expect(m.importance_weight_max).toBeCloseTo(Math.max(...weights), 5);
    const ess = mean(weights) ** 2 / mean(weights.map((w) => w * w));
    expect(m.effective_sample_size).toBeCloseTo(ess, 5);
    expect(m.effective_sample_size).toBeLessThan(1);
    expect(m.response_length).toBeCloseTo(logRatios.length / 8, 6);
    expect(m.ended).toBe(rollouts.filter((t) => t.finished).length / 8);
    expect(m.truncated).toBeCloseTo(1 - m.ended!, 6);
    // Before the first update the student is the one that sampled, so the KL at its own states is the same.
    expect(m.ratio).toBeCloseTo(1, 5);
    expect(m.kl_new).toBeCloseTo(m.reverse_kl!, 5);
    // The paper's preset weighs the single-step term with w.
    expect(m.reg_loss).toBeCloseTo(mean(flat((t) => t.kl!).map((kl, i) => kl * weights[i]!)), 5);
    expect(m.loss).toBeCloseTo(m.pg_loss! + m.reg_loss!, 5);
  });
});

describe('a round', () => {
  const fields = {
    method: 'minillm',
    train: { steps: 8, batch_size: 4 },
    rollout: { rollouts: 8, samples: 2, inner_epochs: 2 },
  };

  it('every pass goes through all rollouts once, the samples of a prompt together; then a new round', async () => {
    const world = tinyWorld({ config: fields });
    const { context, state } = world;
    const method = minillm();
    expect(method.stepsPerRound!(context)).toBe(4);
    state.round = 1;
    await method.collect!(context, state);
    expect(new Set(state.rollouts.map((t) => t.promptIndex)).size).toBe(4);
    const all = state.rollouts;
    const passes = [0, 1, 2, 3].map((stepInRound) => {
      state.stepInRound = stepInRound;
      // Prompt lengths of 32, 64, 128, ...: the bits of a sum of tokens name the rollouts in it.
      state.rollouts = all.map((t, i) => ({ ...t, promptIds: new Int32Array(32 * 2 ** i).fill(1) }));
      return Math.floor(method.step(context, state).tokens / 32);
    });
    expect(passes[0]! + passes[1]!).toBe(0b11111111);
    expect(passes[2]! + passes[3]!).toBe(0b11111111);
    expect(passes[0]! & passes[1]!).toBe(0);
    expect(passes[2]).not.toBe(passes[0]);
    for (const bits of passes) {
      // Rollouts 2i and 2i + 1 are the samples of one prompt.
      expect((bits >> 1) & 0b01010101).toBe(bits & 0b01010101);
    }
    method.dispose!();
    state.rollouts = all;
    world.dispose();
  });

  it('rounds follow one another; each step says its round', async () => {
    const world = tinyWorld({ config: fields });
    const records = await world.run();
    world.dispose();
    expect(records.map((r) => r.round)).toEqual([1, 1, 1, 1, 2, 2, 2, 2]);
    expect(records.map((r) => 'rollouts' in r.metrics)).toEqual(
      [0, 1, 2, 3, 4, 5, 6, 7].map((i) => i % 4 === 0),
    );
  });

  it('never asks a prompt twice in a round, also where the prompts run out in the middle of one', async () => {
    const world = tinyWorld({
      config: {
        method: 'minillm',
        train: { steps: 6, batch_size: 4 },
        rollout: { rollouts: 4, max_new_tokens: 2 },
      },
      examples: 7,
    });
    const rounds: number[][] = [];
    await world.run({ onStep: () => rounds.push(world.state.rollouts.map((t) => t.promptIndex)) });
    world.dispose();
    for (const asked of rounds) expect(new Set(asked).size).toBe(4);
    expect(new Set(rounds.flat()).size).toBe(7);
  });

  it('the answers depend on seed, round, prompt and sample, not on how they are decoded', async () => {
    const answers = async (change: object): Promise<string> => {
      const world = tinyWorld({ config: { ...fields, ...change } });
      await world.run({ stopping: () => true }).catch(() => {});
      const text = world.state.rollouts.map((t) => `${t.streamKey} ${t.responseIds.join()}`).join('\n');
      world.dispose();
      return text;
    };
    const reference = await answers({});
    expect(await answers({ rollout: { ...fields.rollout, batch_size: 3 } })).toBe(reference);
    expect(await answers({ seed: 2 })).not.toBe(reference);
  });
});

describe('the pretraining rows of a round', () => {
  const fields = {
    method: 'minillm',
    train: { steps: 4, batch_size: 4 },
    rollout: { rollouts: 8, inner_epochs: 2, max_new_tokens: 4 },
    eval: { every: 0 },
  };

  it('are met again in every pass, with the teacher run once, or drawn afresh at every step', () => {
    const world = tinyWorld({ config: { ...fields, pretrain: { rows: 'round' } }, corpus: 40 });
    const { context, state } = world;
    const objective = resolveObjective('minillm', everyPart);
    const teacher = new TextTeacher();
    const at = (stepInRound: number, rows: 'round' | 'step') => {
      context.config.pretrain.rows = rows;
      Object.assign(state, { round: 2, stepInRound, step: 4 + stepInRound });
      const [part] = pretrainingBatches(context, state, objective, teacher);
      const [targets, logits] = part!.constants();
      const values = { targets: targets!.dataSync().join(), logits: logits!.dataSync().join() };
      tf.dispose([targets!, logits!]);
      return values;
    };
    const before = tf.memory().numTensors;
    const [first, second, again, fresh] = [at(0, 'round'), at(1, 'round'), at(2, 'round'), at(2, 'step')];
    expect(again).toEqual(first);
    expect(second.targets).not.toBe(first.targets);
    expect(fresh.targets).not.toBe(first.targets);
    expect(tf.memory().numTensors).toBe(before + 2); // the logits of two steps are kept
    teacher.dispose();
    expect(tf.memory().numTensors).toBe(before);
    world.dispose();
  });
});

describe('what a configuration says of the draw', () => {
  const rollout = {
    min_p: 0.02,
    repetition_penalty: 1.5,
    no_repeat_ngram: 2,
    stop_strings: ['read by the run'],
  };
  /** Whether a response says a pair of tokens twice, the prompt counting. */
  const repeats = (promptIds: Int32Array, responseIds: Int32Array): boolean => {
    const ids = [...promptIds, ...responseIds];
    const pairs = ids.slice(1).map((id, i) => `${ids[i]},${id}`);
    return pairs
      .slice(promptIds.length - 1)
      .some((pair, i) => pairs.indexOf(pair) < promptIds.length - 1 + i);
  };

  it.each(['minillm', 'opd', 'gkd'])('%s samples so, and ends where the run says', async (method) => {
    const config = { method, train: { steps: 1 }, rollout, gkd: { lambda: 1 } };
    const world = tinyWorld({ config });
    const ended: number[][] = [];
    world.context.stop = (ids) => {
      const ends = ids.at(-1)! % 3 === 0;
      if (ends) ended.push([...ids]);
      return ends;
    };
    await world.run();
    expect(ended.length).toBeGreaterThan(0);
    for (const t of world.state.rollouts) {
      const end = t.responseIds.findIndex((id) => id % 3 === 0);
      expect(t.finished).toBe(end >= 0);
      if (end >= 0) expect(t.responseIds.length).toBe(end + 1);
      expect(repeats(t.promptIds, t.responseIds)).toBe(false);
      expect(t.behaviorLogprobs).not.toEqual(t.studentLogprobs);
    }
    expect(world.state.rollouts.length > 0).toBe(method !== 'gkd');
    world.dispose();
  });
});

describe('the teacher logits of a round', () => {
  const options = (world: World): RolloutOptions => {
    const { rollout, seed } = world.context.config;
    return {
      temperature: 1,
      topK: 0,
      topP: 1,
      greedy: false,
      samples: rollout.samples,
      maxNewTokens: rollout.max_new_tokens,
      eosIds: world.context.eosIds,
      seed,
      round: 1,
      batchSize: 3, // several admissions, and rows that fall out at different times
      policyVersion: 0,
      teacher: { model: world.context.teachers[0]!, alpha: 0.2 },
    };
  };

  it('kept while sampling, replayed after a resume, or computed again for a minibatch: the same numbers', async () => {
    const world = tinyWorld({ config: { method: 'minillm', train: { steps: 1 } } });
    const { context } = world;
    const prompts = context.train.slice(0, 7).map(({ promptIds }, index) => ({ index, ids: promptIds }));
    const before = tf.memory().numTensors;
    const [sampled, replayed, scored] = [new TeacherLogits(), new TeacherLogits(), new TeacherLogits(0)];
    const rolloutOptions = options(world);
    const observer = sampled.capture(
      context,
      1,
      prompts.length * rolloutOptions.samples,
      rolloutOptions.maxNewTokens,
    )!(0);
    const trajectories = rollout(context.student, prompts, { ...rolloutOptions, onTeacherLogits: observer });
    const picks = [5, 0, 6];
    const tokens = picks.reduce((sum, i) => sum + trajectories[i]!.responseIds.length, 0);
    const [a, b, c] = [sampled, replayed, scored].map((logits) => {
      const rows = logits.rows(context, 1, trajectories, picks, rolloutOptions);
      const values = rows.dataSync<'float32'>().slice();
      expect(rows.shape).toEqual([tokens, VOCAB]);
      rows.dispose();
      return values;
    });
    expect(b).toEqual(a); // to the bit
    a!.forEach((x, i) => {
      expect(x).toBeCloseTo(c![i]!, 4);
    });
    // They score what was sampled.
    const t = trajectories[5]!;
    t.responseIds.forEach((id, k) => {
      const row = a!.subarray(k * VOCAB, (k + 1) * VOCAB);
      const logSum = Math.log(row.reduce((sum, x) => sum + Math.exp(x), 0));
      expect(row[id]! - logSum).toBeCloseTo(t.teacherLogprobs![k]!, 4);
    });
    expect(tf.memory().numTensors).toBe(before + 2);
    for (const logits of [sampled, replayed, scored]) logits.dispose();
    // A budget of the card's is stronger than the default.
    expect(sampled.capture({ ...context, teacherLogitsBytes: 4 * VOCAB - 1 }, 1, 1, 1)).toBeUndefined();
    expect(tf.memory().numTensors).toBe(before);
    world.dispose();
  });
});
