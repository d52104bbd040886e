import { describe, expect, it } from 'vitest';
import { DriftWatch } from '../../src/runs/driftWatch.js';

const form = (values: Record<string, number>) =>
  Object.fromEntries(Object.entries(values).map(([name, mean]) => [name, { mean }]));
const teacher = form({ length: 10, ended: 0.99, empty: 0, repetition: 0.01 });
const start = form({ reverse_kl_seq: 9.6, length: 9.5, ended: 0.98, empty: 0.01, repetition: 0.01 });

function begun(): DriftWatch {
  const watch = new DriftWatch();
  watch.teacher(teacher);
  expect(watch.look(start)).toEqual({ drifted: [], warnings: [] });
  return watch;
}

describe('DriftWatch', () => {
  it('speaks once when reverse KL falls while responses become shorter than the teacher’s', () => {
    const watch = begun();
    const short = form({ reverse_kl_seq: 5, length: 5.1, ended: 0.99, empty: 0.02, repetition: 0 });
    expect(watch.look(short)).toEqual({
      drifted: ['length'],
      warnings: [
        'look closer: reverse KL per response fell from 9.60 to 5.00 nats while the response length went from 9.50 to 5.10 (teacher 10.0): part of it may be bought with the form of the responses',
      ],
    });
    expect(watch.look(short)).toEqual({ drifted: ['length'], warnings: [] });
  });

  it.each([
    ['ended', 0.8],
    ['empty', 0.1],
    ['repetition', 0.1],
    ['length', 13],
  ])('sees a drift of %s', (name, value) => {
    const now = { reverse_kl_seq: 5, length: 9, ended: 0.97, empty: 0, repetition: 0.02, [name]: value };
    expect(begun().look(form(now)).drifted).toEqual([name]);
  });

  it('is silent while reverse KL stays, near the teacher, and where the start was farther off', () => {
    expect(begun().look(form({ reverse_kl_seq: 9, length: 5 })).drifted).toEqual([]);
    expect(begun().look(form({ reverse_kl_seq: 5, length: 8.1 })).drifted).toEqual([]);
    const watch = new DriftWatch();
    watch.teacher(teacher);
    watch.look(form({ reverse_kl_seq: 9.6, length: 4 }));
    expect(watch.look(form({ reverse_kl_seq: 5, length: 6 })).drifted).toEqual([]);
  });

  it('says nothing without a teacher', () => {
    const watch = new DriftWatch();
    watch.look(start);
    expect(watch.knowsTeacher).toBe(false);
    expect(watch.look(form({ reverse_kl_seq: 5, length: 1 })).drifted).toEqual([]);
  });

  it('takes up what an interrupted run had logged', () => {
    const head = { round: 0, wall_s: 1 };
    const watch = DriftWatch.from([
      { ...head, step: 0, phase: 'valid', valid_reverse_kl_seq: 9.6, valid_length: 9.5, teacher_length: 10 },
      { ...head, step: 3, phase: 'valid', valid_reverse_kl_seq: 8, valid_length: 9 },
    ]);
    expect(watch.knowsTeacher).toBe(true);
    expect(DriftWatch.from([]).knowsTeacher).toBe(false);
    expect(watch.look(form({ reverse_kl_seq: 5, length: 5 })).drifted).toEqual(['length']);
  });
});
