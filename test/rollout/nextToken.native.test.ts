import * as tf from '@tensorflow/tfjs-core';
import { describe, expect, it } from 'vitest';
import { normal, stream } from '../../src/random/streams.js';
import { logitEdits } from '../../src/rollout/logitEdits.js';
import { nextTokens } from '../../src/rollout/nextToken.js';
import { plainSampling, type SamplingOptions } from '../../src/rollout/sampling.js';
import { initBackend } from '../../src/tensor/backend.js';
import { engineName, onPortable } from '../../src/tensor/kernels.js';

const absent = await initBackend({ backend: 'tensorflow' }).then(
  () => (engineName() === 'tensorflow' ? undefined : 'the addon has no kernels of ours'),
  (error: Error) => error.message,
);

describe.skipIf(absent)(`the sampling kernel${absent ? ` [skipped: ${absent}]` : ''}`, () => {
  const [batch, vocab] = [40, 333];
  const rng = stream(3, 'next token');
  const draw = (n: number, scale: number) => Float32Array.from({ length: n }, () => scale * normal(rng));
  // The student's vocabulary is padded further than the teacher's.
  const student = tf.tensor2d(draw(batch * (vocab + 7), 3), [batch, vocab + 7]);
  const teacherLogits = tf.tensor2d(draw(batch * vocab, 2), [batch, vocab]);
  const uniforms = Array.from({ length: batch }, () => rng());

  // Every third row has nothing in front of it and so no edit.
  const slots = uniforms.map((_, b) => ({
    prompt: { index: b, ids: b % 3 === 0 ? [] : [b, b + 1, b + 2, b] },
    tokens: [],
  }));

  const cases: [Partial<SamplingOptions>, number | undefined][] = [
    [{}, undefined],
    [{ temperature: 0.6 }, undefined],
    [{}, 0],
    [{ temperature: 1.4 }, 0.2],
    [{ topK: 5 }, 0.2],
    [{ topP: 0.7 }, undefined],
    [{ topK: 50, topP: 0.9, temperature: 0.8 }, 0.5],
    [{ greedy: true }, undefined],
    [{ greedy: true }, 0.4],
    [{ minP: 0.1 }, undefined],
    [{ minP: 0.03, topK: 30, topP: 0.97 }, 0.3],
    [{ repetitionPenalty: 1.3 }, undefined],
    [{ repetitionPenalty: 1.3, noRepeatNgram: 2, temperature: 0.7 }, 0.4],
    [{ noRepeatNgram: 1, minP: 0.05 }, 0],
    [{ repetitionPenalty: 3, greedy: true }, undefined],
  ];
  it.each(cases)('finds what the composed one does: %o, teacher %s', (options, alpha) => {
    const all = { ...plainSampling, ...options };
    const teacher = alpha === undefined ? undefined : { logits: teacherLogits, alpha };
    const edits = logitEdits(slots, all, vocab);
    const before = tf.memory().numTensors;
    const fused = nextTokens(student, teacher, uniforms, all, vocab, edits);
    const composed = onPortable(() => nextTokens(student, teacher, uniforms, all, vocab, edits));
    expect(tf.memory().numTensors).toBe(before);
    expect(Array.from(fused.tokens)).toEqual(Array.from(composed.tokens));
    expect(Object.keys(fused).sort()).toEqual(Object.keys(composed).sort());
    for (const name of [
      'studentLogprobs',
      'behaviorLogprobs',
      'entropy',
      'collision',
      'teacherLogprobs',
      'kl',
    ] as const) {
      fused[name]?.forEach((x, b) => {
        const y = composed[name]![b]!;
        expect(Math.abs(x - y), `${name}[${b}]: ${x}, ${y}`).toBeLessThan(1e-5 * Math.max(1, Math.abs(y)));
      });
    }
  });
});
