import { describe, expect, it } from 'vitest';
import { UsageError } from '../../src/errors.js';
import { runOracle } from '../../src/oracle/oracle.js';
import { parseWorld } from '../../src/oracle/worldFile.js';
import { randomWorldJson, type WorldJson } from './worlds.js';

const good = randomWorldJson(3, 3, 9);
const entry = (i: number, change: object) => ({
  ...good,
  student: good.student.with(i, { ...good.student[i]!, ...change }),
});

describe('a bad world ends with one line', () => {
  it.each<[string, unknown, string]>([
    ['null', null, 'w.json: the world: Invalid input: expected object, received null'],
    ['a list', [], 'w.json: the world: Invalid input: expected object, received array'],
    ['unknown key', { ...good, gamma: 1 }, 'w.json: the world: Unrecognized key: "gamma"'],
    [
      'no vocab',
      { ...good, vocab: undefined },
      'w.json: vocab: Invalid input: expected number, received undefined',
    ],
    ['vocab 1', { ...good, vocab: 1 }, 'w.json: vocab: Too small: expected number to be >=2'],
    ['vocab 2.5', { ...good, vocab: 2.5 }, 'w.json: vocab: Invalid input: expected int'],
    ['horizon 0', { ...good, horizon: 0 }, 'w.json: horizon: Too small: expected number to be >=1'],
    ['eos 3', { ...good, eos: 3 }, 'w.json: eos: 3 found, expected a token below vocab 3'],
    ['alpha 1.5', { ...good, alpha: 1.5 }, 'w.json: alpha: Too big: expected number to be <=1'],
    ['huge', { ...good, vocab: 1e6, horizon: 1e9 }, 'make more than 50000 sequences'],
    ['long', { ...good, vocab: 2, horizon: 1e9 }, 'make more than 50000 sequences'],
    [
      'student text',
      { ...good, student: 'x' },
      'w.json: student: Invalid input: expected array, received string',
    ],
    [
      'logit text',
      entry(1, { logits: [0, 'a', 0] }),
      'w.json: student[1].logits[1]: Invalid input: expected number',
    ],
    ['logit NaN', entry(1, { logits: [0, Number.NaN, 0] }), 'w.json: student[1].logits[1]: Invalid input'],
    ['logit 1e300', entry(1, { logits: [0, 1e300, 0] }), 'w.json: student[1].logits[1]: Too big'],
    ['two logits', entry(2, { logits: [0, 1] }), 'w.json: student[2]: 2 logits found, expected vocab 3'],
    ['EOS in a prefix', entry(1, { prefix: [0] }), 'w.json: student[1]: prefix [0] is no prefix without EOS'],
    ['token 7', entry(1, { prefix: [7] }), 'w.json: student[1]: prefix [7] is no prefix'],
    ['too long', entry(1, { prefix: [1, 1, 1] }), 'w.json: student[1]: prefix [1,1,1] is no prefix'],
    ['endless', entry(1, { prefix: Array(1e5).fill(1) }), '1,1,1,1,1,1,1,1,1,1,1,1,… 100000 tokens'],
    ['twice', entry(1, { prefix: [] }), 'w.json: student[1]: prefix [] is given twice'],
    ['one missing', { ...good, teacher: good.teacher.slice(1) }, 'w.json: teacher: no entry for prefix []'],
  ])('%s', (_, json, message) => {
    const run = () => parseWorld(json, 'w.json');
    expect(run).toThrow(UsageError);
    expect(run).toThrow(message);
    expect(run).not.toThrow('\n');
  });

  it('alpha is 0.2 unless given', () => {
    expect(parseWorld({ ...good, alpha: undefined }, 'w').alpha).toBe(0.2);
  });
});

describe('worlds at the edge', () => {
  it('a student that is its teacher: KL and gradient 0, nothing NaN', () => {
    const result = runOracle(parseWorld({ ...good, teacher: good.student }, 'w'));
    expect(result.kl).toBeCloseTo(0, 14);
    for (const row of result.estimators) {
      expect(row.relative_bias).toBeLessThan(1e-12);
      expect(row.variance).toBeCloseTo(0, 12);
      expect(row.cosine).toBe(1);
    }
  });
  it('extreme logits stay finite', () => {
    const wide = (entries: WorldJson['student'], sign: number) =>
      entries.map(({ prefix, logits }) => ({ prefix, logits: logits.map((z) => sign * 2000 * z) }));
    const result = runOracle(
      parseWorld({ ...good, student: wide(good.student, 1), teacher: wide(good.teacher, -1) }, 'w'),
    );
    expect(result.kl).toBeGreaterThan(100);
    for (const row of result.estimators)
      expect(Number.isFinite(row.variance), JSON.stringify(row)).toBe(true);
  });
  it('alpha 0 lists the student alone once', () => {
    const result = runOracle(parseWorld({ ...good, alpha: 0 }, 'w'));
    expect(new Set(result.estimators.map((row) => row.alpha))).toEqual(new Set([0]));
    // K = 2 and 4: five drawings of a baseline of one sample, six of a baseline of K. Returns without values: seven of the
    // first, two of the second, value and action-value with two critics; gae: nine and two, all with two critics.
    expect(result.estimators).toHaveLength(
      (2 * (7 * 5 + 2 * 6 + 2 * 2 * 5) + 2 * 2 * (9 * 5 + 2 * 6)) * 4 * 2,
    );
  });
  it('horizon 1: one step, R_{t+1} is 0 and the single-step term has no variance', () => {
    const one = { ...good, horizon: 1, student: good.student.slice(0, 1), teacher: good.teacher.slice(0, 1) };
    const result = runOracle(parseWorld(one, 'w'));
    expect(result.sequences).toBe(3);
    const plain = result.estimators.find(
      (row) => row.single_step && row.baseline === 'none' && row.alpha === 0,
    )!;
    expect(plain.variance).toBeCloseTo(0, 15);
    expect(plain.relative_bias).toBeLessThan(1e-14);
  });
});
