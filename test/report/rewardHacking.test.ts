import { describe, expect, it } from 'vitest';
import type { Entry } from '../../src/report/entries.js';
import { findRewardHacking } from '../../src/report/rewardHacking.js';
import type { LoggedRow, Run } from '../../src/report/runs.js';

/** A run with the given evaluation (standard errors 0.01 each) and logged rows. */
function run(
  method: string,
  evaluation: Record<string, number>,
  logged: Record<string, number>[] = [],
): Entry {
  const one: Run = {
    directory: `/runs/${method}`,
    label: method,
    method,
    isTeacher: method === 'teacher',
    steps: null,
    parameters: null,
    teacherParameters: null,
    logged: logged.map((values, i): LoggedRow => ({ step: i, phase: 'valid', values })),
    evaluation: Object.fromEntries(
      Object.entries(evaluation).map(([name, mean]) => [name, { mean, stderr: 0.01, n: 100 }]),
    ),
    evaluated: { perPrompt: {}, promptSet: null, data: null, prompts: null, notes: [], curves: {} },
    samples: [],
    samplesFrom: null,
    configText: null,
    config: {},
    environment: {},
    notes: [],
  };
  return { ...one, runs: [one] };
}

const teacher = run('teacher', {
  length: 10,
  ended: 0.99,
  repetition: 0.01,
  empty: 0,
  sample_diversity: 0.8,
});
const sft = run('sft', {
  reverse_kl_seq: 9.6,
  length: 9.5,
  ended: 0.98,
  repetition: 0.01,
  empty: 0.01,
  sample_diversity: 0.85,
});

describe('findRewardHacking in evaluations', () => {
  it('says that a lower reverse KL was bought with shorter responses, with the numbers', () => {
    const { warnings } = findRewardHacking([
      teacher,
      sft,
      run('minillm', { reverse_kl_seq: 5, length: 5.1 }),
    ]);
    expect(warnings).toEqual([
      'minillm: reverse KL per response is 5 nats, below sft’s 9.60, but the response length is 5.10 tokens (teacher 10 tokens, sft 9.50 tokens). Part of the low divergence may be bought with the form of the responses.',
    ]);
  });

  it.each([
    ['ended', 0.8, 'the share that ends by itself is 80 %'],
    ['repetition', 0.2, 'the share of repeated 4-grams is 20 %'],
    ['empty', 0.1, 'the share of empty answers is 10 %'],
    ['sample_diversity', 0.5, 'the diversity of samples is 0.500'],
    ['length', 15, 'the response length is 15 tokens'],
  ])('sees a drift of %s', (name, value, said) => {
    const { warnings } = findRewardHacking([
      teacher,
      sft,
      run('minillm', { reverse_kl_seq: 5, [name]: value }),
    ]);
    expect(warnings).toHaveLength(1);
    expect(warnings[0]).toContain(said);
  });

  it('is silent when reverse KL did not fall, the form is like the teacher’s, or the SFT start was farther off', () => {
    const healthy = {
      reverse_kl_seq: 7,
      length: 9,
      ended: 0.97,
      repetition: 0.02,
      empty: 0.01,
      sample_diversity: 0.75,
    };
    expect(findRewardHacking([teacher, sft, run('minillm', healthy)]).warnings).toEqual([]);
    expect(
      findRewardHacking([teacher, sft, run('kd', { reverse_kl_seq: 9.59, length: 5 })]).warnings,
    ).toEqual([]);
    const short = run('sft', { reverse_kl_seq: 9.6, length: 4 });
    expect(
      findRewardHacking([teacher, short, run('minillm', { reverse_kl_seq: 5, length: 6 })]).warnings,
    ).toEqual([]);
  });

  it('does not speak of a difference whose interval holds zero', () => {
    const unsure = (stderr: number): Entry => {
      const student = run('minillm', { reverse_kl_seq: 5 });
      student.evaluation.length = { mean: 7, stderr, n: 5 };
      return student;
    };
    // 3 tokens below the teacher; t of 4 degrees of freedom is 2.776.
    expect(findRewardHacking([teacher, sft, unsure(1.1)]).warnings).toEqual([]);
    expect(findRewardHacking([teacher, sft, unsure(1.05)]).warnings).toHaveLength(1);
  });
});

describe('findRewardHacking in learning curves', () => {
  const falling = (name: string, from: number, to: number): Record<string, number>[] =>
    Array.from({ length: 10 }, (_, i) => ({
      valid_reverse_kl_token: 1 - 0.05 * i,
      [name]: from + ((to - from) * i) / 9,
    }));

  it('sees a length that moves away from the teacher’s, or from its own start when that is unknown', () => {
    const student = run('minillm', {}, falling('valid_length', 9, 5));
    expect(findRewardHacking([student]).warnings).toEqual([
      'minillm: during training reverse KL falls from 0.975 to 0.575 nats while the response length goes from 8.78 tokens to 5.22 tokens.',
    ]);
    expect(findRewardHacking([teacher, student]).warnings[0]).toContain('away from teacher’s 10 tokens');
  });

  it('prefers what the run itself logged of the teacher on its validation prompts', () => {
    const rows = falling('valid_length', 9, 5);
    rows[0]!.teacher_length = 5;
    expect(findRewardHacking([teacher, run('minillm', {}, rows)]).warnings).toEqual([]);
    rows[0]!.teacher_length = 20;
    expect(findRewardHacking([run('minillm', {}, rows)]).warnings[0]).toContain(
      'away from the teacher’s 20 tokens',
    );
  });

  it('is silent about a quantity that moves towards the teacher', () => {
    expect(findRewardHacking([teacher, run('minillm', {}, falling('valid_length', 5, 7))]).warnings).toEqual(
      [],
    );
  });

  it('prefers validation to training values and says what it looked at', () => {
    const rows = falling('valid_length', 9, 9).map((row, i) => ({ ...row, response_length: 9 - 0.8 * i }));
    const report = findRewardHacking([run('minillm', {}, rows)]);
    expect(report.warnings).toEqual([]);
    expect(report.checked).toBe('Compared: the course of training of minillm.');
    expect(findRewardHacking([run('sft', { length: 9 })]).checked).toMatch(/^Not checked: /);
  });

  it('does not fire while reverse KL stays', () => {
    const rows = falling('valid_length', 9, 5).map((row) => ({ ...row, valid_reverse_kl_token: 1 }));
    expect(findRewardHacking([run('minillm', {}, rows)]).warnings).toEqual([]);
  });
});
