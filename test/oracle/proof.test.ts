import { describe, expect, it } from 'vitest';
import { baselineNames } from '../../src/objectives/baselines.js';
import { importanceNames } from '../../src/objectives/importance.js';
import { presets } from '../../src/objectives/presets.js';
import { futureNames } from '../../src/objectives/returns.js';
import { enumerate } from '../../src/oracle/enumeration.js';
import { estimatorMoments } from '../../src/oracle/estimator.js';
import { type EstimatorRow, runOracle } from '../../src/oracle/oracle.js';
import { parseWorld } from '../../src/oracle/worldFile.js';
import { samplingSchemeNames } from '../../src/rollout/uniforms.js';
import { naiveLogSoftmax, naiveSequences, randomWorld, randomWorldJson, withTask } from './worlds.js';

const name = (r: EstimatorRow) =>
  `${r.single_step ? 'single step' : 'R_t'} ${r.returns} ${r.values} ${r.baseline} ${r.sampling} K${r.samples} ${r.importance} alpha ${r.alpha} ${r.length_norm}`;

/**
 * Per split and correction, of the returns without values: five baselines under three drawings, leave-one-out under one, value and
 * action-value with two critics under three; of gae, with the exact critic: seven under three and leave-one-out. Two splits; without mixing
 * all four corrections, with it prefix. The objective per token has two returns and two baselines.
 */
const claims = (2 * (5 * 3 + 1 + 2 * 2 * 3) + 2 * (7 * 3 + 1) + 2 * 2) * 2 * 5;

// Truncated weights need a cut that these short worlds reach, wrong values a λ that looks at them: the defaults do.
describe.each([
  ['independent models', randomWorld(3, 4, 1), [2]],
  ['a student close to the teacher', randomWorld(3, 4, 2, 0.3), [2]],
  ['vocabulary 4, horizon 4', randomWorld(4, 4, 3), [2]],
  ['K = 4', randomWorld(3, 3, 4), [4]],
  ['a task and half the KL', parseWorld(withTask(randomWorldJson(3, 3, 6), 0.5), 'task'), [2]],
])('every estimator over the enumeration: %s', (_, world, samples) => {
  const result = runOracle(world, { samples });
  const rows = [...result.estimators, ...result.length_normalised.estimators];

  it('judges every combination', () => {
    expect(result.left_out).toBe(0);
    for (const [axis, names] of Object.entries({
      returns: futureNames,
      baseline: baselineNames,
      importance: importanceNames,
      sampling: samplingSchemeNames,
    })) {
      expect(new Set(rows.map((row) => row[axis as 'returns'])), axis).toEqual(new Set(names));
    }
    // Three drawings each, of returns without values (nine baselines, value and action-value with two critics) and of gae (all
    // with two critics); mixing, weights, splits.
    expect(result.estimators.length).toBe(3 * (2 * (9 + 4) + 2 * (2 * 11)) * 2 * 4 * 2);
  });

  it('equals the exact gradient where it claims to', () => {
    const claimed = rows.filter((r) => r.claims_unbiased);
    expect(claimed.length).toBe(claims);
    for (const r of claimed) {
      expect(r.relative_bias, name(r)).toBeLessThan(1e-12);
      expect(r.cosine, name(r)).toBeCloseTo(1, 12);
    }
  });

  it('does not where it makes no claim', () => {
    const unclaimed = [...rows, ...result.forms].filter((r) => !r.claims_unbiased);
    expect(unclaimed.length).toBe(rows.length + result.forms.length - claims);
    for (const r of unclaimed) expect(r.relative_bias, name(r)).toBeGreaterThan(1e-4);
  });

  it('has a positive variance', () => {
    for (const r of rows) expect(r.variance, name(r)).toBeGreaterThan(0);
  });

  it('without mixing the importance correction makes no difference', () => {
    const [none, prefix] = ['none', 'prefix'].map((importance) =>
      result.estimators.filter((r) => r.alpha === 0 && r.importance === importance),
    );
    none!.forEach((r, i) => {
      expect(prefix![i]!.variance, name(r)).toBeCloseTo(r.variance, 12);
    });
  });
});

describe('two estimators against a dense loop of their own', () => {
  const json = randomWorldJson(3, 4, 1);
  const enumeration = enumerate(randomWorld(3, 4, 1));
  const table = (entries: typeof json.student) =>
    new Map(entries.map((e) => [e.prefix.join('-'), naiveLogSoftmax(e.logits)]));
  const [q, p] = [table(json.student), table(json.teacher)];
  const kl = (key: string) => q.get(key)!.reduce((sum, l, v) => sum + Math.exp(l) * (l - p.get(key)![v]!), 0);
  const columns = new Map(json.student.map((e, i) => [e.prefix.join('-'), i * json.vocab]));

  /** Mean and trace of covariance of Σ_t {a_t ∇KL_t + b_t ∇ln q(y_t)}, each sequence a dense vector. */
  function dense(alpha: number, coefficients: (s: Prepared) => { a: number[]; b: number[] }) {
    const size = json.student.length * json.vocab;
    const mean = new Array<number>(size).fill(0);
    let second = 0;
    for (const s of prepared(alpha)) {
      const g = new Array<number>(size).fill(0);
      const { a, b } = coefficients(s);
      s.keys.forEach((key, t) => {
        q.get(key)!.forEach((l, v) => {
          const score = (s.tokens[t] === v ? 1 : 0) - Math.exp(l);
          g[columns.get(key)! + v]! += b[t]! * score + a[t]! * Math.exp(l) * (l - p.get(key)![v]! - kl(key));
        });
      });
      g.forEach((x, i) => {
        mean[i]! += s.probability * x;
        second += s.probability * x * x;
      });
    }
    return { mean, variance: second - mean.reduce((sum, x) => sum + x * x, 0) };
  }
  type Prepared = ReturnType<typeof prepared>[number];
  function prepared(alpha: number) {
    return naiveSequences(json).map((s) => {
      const mix = s.logq.map((l, t) => alpha * Math.exp(s.logp[t]!) + (1 - alpha) * Math.exp(l));
      return {
        ...s,
        probability: mix.reduce((x, y) => x * y, 1),
        u: s.logq.map((l, t) => Math.exp(l) / mix[t]!),
      };
    });
  }
  const check = (found: ReturnType<typeof estimatorMoments>, expected: ReturnType<typeof dense>) => {
    expect(found.variance).toBeCloseTo(expected.variance, 12);
    // the JSON lists states shorter prefixes first, as the oracle does
    expected.mean.forEach((x, i) => {
      expect(found.expectation[i]).toBeCloseTo(x, 13);
    });
  };
  const plain = { ...presets.paper, cliprange: 0, length_norm: 'off' } as const;

  it('single step + R_{t+1} with token weights on both terms (the paper without length normalisation)', () => {
    const expected = dense(0.2, ({ tokens, logq, logp, u }) => ({
      a: u,
      b: tokens.map((_, t) => {
        let future = 0;
        for (let k = t + 1; k < tokens.length; k++) future += logp[k]! - logq[k]!;
        return -u[t]! * future;
      }),
    }));
    check(estimatorMoments(enumeration, plain), expected);
  });

  it('rao-blackwell with position baseline and prefix weights', () => {
    const future = ({ keys, u }: Prepared, t: number) => {
      let total = 0;
      let product = 1;
      for (let k = t + 1; k < keys.length; k++) {
        total -= product * kl(keys[k]!);
        product *= u[k]!;
      }
      return total;
    };
    const all = prepared(0.2);
    const means = [0, 1, 2, 3].map((t) => {
      const alive = all.filter((s) => s.keys.length > t);
      const mass = alive.reduce((sum, s) => sum + s.probability, 0);
      return alive.reduce((sum, s) => sum + s.probability * future(s, t), 0) / mass;
    });
    const expected = dense(0.2, (s) => {
      const upTo = s.u.map((_, t) => s.u.slice(0, t + 1).reduce((x, y) => x * y, 1));
      return {
        a: s.u.map((_, t) => (t === 0 ? 1 : upTo[t - 1]!)),
        b: s.keys.map((_, t) => -upTo[t]! * (future(s, t) - means[t]!)),
      };
    });
    const config = {
      ...plain,
      importance: 'prefix',
      returns: 'rao-blackwell',
      baseline: 'position',
    } as const;
    check(estimatorMoments(enumeration, config), expected);
  });
});
