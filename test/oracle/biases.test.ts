import { describe, expect, it } from 'vitest';
import { type EstimatorRow, runOracle } from '../../src/oracle/oracle.js';
import { randomWorld } from './worlds.js';

/**
 * What the forms that are biased by design cost, measured on two worlds of vocabulary 3 and horizon 4: independent
 * models, and a student close to its teacher. Literal numbers: a change of any of them is a change of the mathematics.
 */
const independent = runOracle(randomWorld(3, 4, 1));
const close = runOracle(randomWorld(3, 4, 2, 0.3));

const find = (rows: readonly EstimatorRow[], wanted: Partial<EstimatorRow>): EstimatorRow => {
  const found = rows.filter((row) =>
    Object.entries(wanted).every(([k, v]) => row[k as keyof EstimatorRow] === v),
  );
  expect(found, JSON.stringify(wanted)).toHaveLength(1);
  return found[0]!;
};
const expectBias = (row: EstimatorRow, [bias, cosine]: readonly [number, number]) => {
  expect(row.claims_unbiased).toBe(false);
  expect(row.relative_bias).toBeCloseTo(bias, 5);
  expect(row.cosine).toBeCloseTo(cosine, 5);
};

describe('relative bias and cosine with the exact gradient', () => {
  // columns: independent models | close student
  it.each([
    ['r_t counted twice (single step with R_t)', [0.85715, 0.993327], [0.966129, 0.998031]],
    ['no r_t at all (R_{t+1} without single step)', [0.85715, 0.6238], [0.966129, 0.321187]],
    ['remaining, sampled', [0.077447, 0.998535], [0.176713, 0.990477]],
    ['remaining, rao-blackwell', [0.089374, 0.997171], [0.06443, 0.998112]],
    ['token weight, not on the single step', [0.180569, 0.98905], [0.052339, 0.99869]],
    ['preset minillm', [0.147344, 0.993775], [0.066445, 0.997922]],
    ['preset lmops', [0.325641, 0.979736], [5.685936, 0.96947]],
    ['preset paper', [0.195379, 0.983331], [0.167592, 0.991071]],
  ] as const)('%s', (name, far, near) => {
    expectBias(independent.forms.find((row) => row.name === name)!, far);
    expectBias(close.forms.find((row) => row.name === name)!, near);
  });

  const grid = (
    wanted: Partial<EstimatorRow>,
    far: readonly [number, number],
    near: readonly [number, number],
  ) =>
    it(JSON.stringify(wanted), () => {
      const full = { single_step: true, ...wanted };
      expectBias(find(independent.estimators, full), far);
      expectBias(find(close.estimators, full), near);
    });

  // Token weights, the paper's approximation: the states are still those of the mixture.
  const token = { baseline: 'none', importance: 'token', alpha: 0.2 } as const;
  grid({ ...token, returns: 'sampled' }, [0.180569, 0.98905], [0.052339, 0.99869]);
  grid({ ...token, returns: 'rao-blackwell' }, [0.113399, 0.995295], [0.019266, 0.999823]);
  // No weight at all.
  const none = { baseline: 'none', importance: 'none', alpha: 0.2 } as const;
  grid({ ...none, returns: 'sampled' }, [0.207571, 0.99026], [0.051471, 0.99876]);
  grid({ ...none, returns: 'rao-blackwell' }, [0.164066, 0.99634], [0.019888, 0.999803]);
  // Whitening blows small rewards up: near the teacher it loses the direction.
  const whiten = { baseline: 'whiten', importance: 'none', alpha: 0 } as const;
  grid({ ...whiten, returns: 'sampled' }, [0.068155, 0.998456], [0.576796, 0.908195]);
  grid({ ...whiten, returns: 'rao-blackwell' }, [0.128047, 0.995733], [5.200233, 0.476656]);
  const padded = { baseline: 'whiten-padded', importance: 'none', alpha: 0 } as const;
  grid({ ...padded, returns: 'sampled' }, [0.053462, 0.999067], [0.7866, 0.859504]);
  grid({ ...padded, returns: 'rao-blackwell' }, [0.138428, 0.995077], [6.209234, 0.453773]);
});

describe('what counting twice does, exactly', () => {
  it('adds the single-step gradient once more: the two errors are opposite', () => {
    const [twice, never] = [0, 1].map((i) => independent.forms[i]!.relative_bias);
    expect(twice).toBeCloseTo(never!, 12);
  });
  it('w_t on the single-step term changes no expectation, only the variance', () => {
    const on = find(independent.estimators, {
      ...({ baseline: 'none', importance: 'token', alpha: 0.2 } as const),
      returns: 'sampled',
      single_step: true,
    });
    const off = independent.forms.find((row) => row.name.startsWith('token weight'))!;
    expect(off.relative_bias).toBeCloseTo(on.relative_bias, 12);
    expect(off.variance).not.toBeCloseTo(on.variance, 3);
  });
});

describe('variance of one sample, unbiased forms without mixing', () => {
  it.each([
    ['sampled', 'none', 1, 2.815749, 0.05906],
    ['sampled', 'position', 1, 2.387552, 0.058513],
    ['sampled', 'leave-one-out', 2, 4.919687, 0.090342],
    ['rao-blackwell', 'none', 1, 1.332934, 0.009824],
    ['rao-blackwell', 'batch', 1, 0.96893, 0.0093],
    ['rao-blackwell', 'position', 1, 0.904737, 0.009278],
    ['rao-blackwell', 'leave-one-out', 2, 1.562626, 0.009926],
    ['rao-blackwell', 'leave-one-out', 4, 1.129269, 0.009526],
  ] as const)('single step, %s, %s K %i: %f and %f', (returns, baseline, samples, far, near) => {
    const wanted = { returns, baseline, samples, importance: 'none', alpha: 0, single_step: true } as const;
    expect(find(independent.estimators, wanted).variance).toBeCloseTo(far, 5);
    expect(find(close.estimators, wanted).variance).toBeCloseTo(near, 5);
  });
});
