import { describe, expect, it } from 'vitest';
import { boldEntries, ranking } from '../../src/report/best.js';
import type { Entry } from '../../src/report/entries.js';
import type { MetricSummary } from '../../src/report/evaluationFile.js';
import { outcome } from '../../src/report/headline.js';
import type { Run } from '../../src/report/runs.js';
import { clearlyAbove, difference, shownInterval } from '../../src/report/uncertainty.js';

const rouge = 'rouge_l_sampled';

interface Given {
  summary: MetricSummary;
  perPrompt?: number[];
  promptSet?: string | null;
  seed?: number;
}

function run(label: string, { summary, perPrompt, promptSet = 'p', seed = 1 }: Given, name = rouge): Run {
  return {
    ...{ directory: `/runs/${label}`, label, method: label, isTeacher: label === 'teacher', steps: null },
    ...{ logged: [], samples: [], samplesFrom: null, configText: null, environment: {}, notes: [] },
    ...{ parameters: null, teacherParameters: null },
    config: { seed },
    evaluation: { [name]: summary },
    evaluated: {
      perPrompt: perPrompt ? { [name]: perPrompt } : {},
      promptSet,
      data: null,
      prompts: null,
      notes: [],
      curves: {},
    },
  };
}
const entry = (label: string, given: Given, name = rouge): Entry => {
  const one = run(label, given, name);
  return { ...one, runs: [one] };
};
/** Several training seeds, each with its mean; the entry's number is over them. */
function seeded(label: string, means: number[], promptSet: string | null = 'p'): Entry {
  const runs = means.map((mean, i) =>
    run(label, { summary: { mean, stderr: 1, n: 500 }, seed: i + 1, promptSet }),
  );
  const mean = means.reduce((a, b) => a + b) / means.length;
  const variance = means.reduce((sum, x) => sum + (x - mean) ** 2, 0) / (means.length - 1);
  const summary = { mean, stderr: Math.sqrt(variance / means.length), n: means.length };
  return { ...run(label, { summary, promptSet }), runs };
}
const hard = Array.from({ length: 60 }, (_, i) => 10 + 40 * Math.abs(Math.sin(i)));
/** On hard and easy prompts alike a little above: apart the two cannot be told, paired they can. */
const pairOf = (by: number): [Entry, Entry] => {
  const summary = (mean: number): MetricSummary => ({
    mean,
    stderr: 1.6,
    n: 60,
    interval: [mean - 3.2, mean + 3.2],
  });
  const better = hard.map((x, i) => x + by + 0.3 * Math.sin(7 * i));
  return [
    entry('kd', { summary: summary(35 + by), perPrompt: better }),
    entry('sft', { summary: summary(35), perPrompt: hard }),
  ];
};

describe('the difference of two models', () => {
  it('is paired by prompt where both answered the same ones', () => {
    const [kd, sft] = pairOf(1);
    const found = difference(kd, sft, rouge)!;
    expect(found.paired).toBe('prompts');
    expect(found.mean).toBeCloseTo(1, 1);
    expect(found.high - found.low).toBeLessThan(0.2);
    expect(clearlyAbove(kd, sft, rouge)).toBe(true);
    // The intervals of the two overlap all the same.
    expect(shownInterval(sft.evaluation[rouge]!)![1]).toBeGreaterThan(
      shownInterval(kd.evaluation[rouge]!)![0],
    );
  });

  it('is apart, and unclear, on other prompts: Welch from the intervals', () => {
    const [kd, sft] = pairOf(1);
    const other = { ...sft, evaluated: { ...sft.evaluated, promptSet: 'q' } };
    const found = difference(kd, other, rouge)!;
    expect(found.paired).toBe('nothing');
    expect(found.high - found.low).toBeCloseTo(2 * Math.SQRT2 * 3.2, 3);
    expect(clearlyAbove(kd, other, rouge)).toBe(false);
  });

  it('of two numbers from few values takes Student’s t, not two standard errors', () => {
    const two = (mean: number): Entry => entry('x', { summary: { mean, stderr: 1, n: 2 }, promptSet: null });
    // Welch: two of one degree of freedom each give two. 3 is more than 2·√2, and less than 4.303·√2.
    const found = difference(two(3), two(0), rouge)!;
    expect(found.high).toBeCloseTo(3 + 4.303 * Math.SQRT2, 3);
    expect(clearlyAbove(two(3), two(0), rouge)).toBe(false);
    expect(clearlyAbove(two(6.2), two(0), rouge)).toBe(true);
  });

  it('pairs training seeds; what was trained once stands against each', () => {
    const [a, b] = [seeded('kd', [11, 13, 15.5]), seeded('sft', [10, 12, 14])];
    const found = difference(a, b, rouge)!;
    // 1, 1, 1.5: mean 1.1667, standard error 1/6.
    expect(found).toMatchObject({ paired: 'seeds', n: 3 });
    expect(found.mean).toBeCloseTo(3.5 / 3, 10);
    expect(found.high - found.mean).toBeCloseTo(4.303 / 6, 4);
    const start = entry('start', { summary: { mean: 10, stderr: 1, n: 500 } });
    expect(difference(a, start, rouge)!.high).toBeCloseTo(
      3.1667 + 4.303 * Math.sqrt((2.1667 ** 2 + 0.1667 ** 2 + 2.3333 ** 2) / 2 / 3),
      2,
    );
    const elsewhere = seeded('sft', [10, 12, 14], 'q');
    expect(difference(a, elsewhere, rouge)!.paired).toBe('nothing');
  });

  it('says nothing without uncertainty', () => {
    const bare = (mean: number): Entry =>
      entry('x', { summary: { mean, stderr: null, n: 1 }, promptSet: null });
    expect(difference(bare(3), bare(0), rouge)).toBeNull();
    expect(clearlyAbove(bare(3), bare(0), rouge)).toBe(false);
  });
});

describe('what is bold, and what the first sentences say', () => {
  it('bold is the best and what is not clearly behind it; nothing where nobody is', () => {
    const [kd, sft] = pairOf(1);
    expect(ranking(rouge, [sft, kd])).toEqual({ best: kd, level: [], behind: [sft] });
    expect([...boldEntries(rouge, [sft, kd])]).toEqual([kd]);
    const [even, odd] = pairOf(0.01);
    expect(ranking(rouge, [even, odd])!.level).toHaveLength(1);
    expect(boldEntries(rouge, [even, odd]).size).toBe(0);
  });

  it('names the best against the starting student with the interval of the difference', () => {
    const [kd, sft] = pairOf(1);
    const { mean, low, high } = difference(kd, sft, rouge)!;
    const [by, from, to] = [mean, low, high].map((x) => x.toFixed(3));
    expect(outcome([sft, kd])).toEqual([
      `kd raises sampled Rouge-L against sft, by ${by} (95\u00a0% interval ${from} to ${to}).`,
      'Each model was trained once: the noise of training is in none of these intervals.',
    ]);
    const other = { ...kd, label: 'gkd', method: 'gkd' };
    expect(outcome([sft, kd, other])[0]).toContain('raises sampled Rouge-L most against sft, by');
    expect(outcome([sft, kd, other])[0]).toContain(', not clearly ahead of gkd.');
  });

  it('turns the sign where lower is better', () => {
    const name = 'reverse_kl_seq';
    const of = (label: string, mean: number): Entry =>
      entry(label, { summary: { mean, stderr: 0.1, n: 500 } }, name);
    expect(outcome([of('sft', 16), of('kd', 15), of('minillm', 12.5)])).toContain(
      'minillm lowers the reverse KL of a response most against sft, by 3.50 nats (95\u00a0% interval 3.22 to 3.78), clearly ahead of kd.',
    );
    expect(outcome([of('kd', 15), of('minillm', 12.5)])).toContain(
      'minillm has the lowest reverse KL of a response, kd behind by 2.50 nats (95\u00a0% interval 2.22 to 2.78).',
    );
  });

  it('says plainly that nothing can be told apart', () => {
    const [even, odd] = pairOf(0.01);
    expect(outcome([odd, even])[0]).toMatch(/^In sampled Rouge-L no student is clearly better than sft\./);
    expect(outcome([{ ...odd, method: 'gkd' }, even])[0]).toMatch(
      /^In sampled Rouge-L no student is clearly ahead\./,
    );
    expect(outcome([even])).toEqual([]);
  });
});
