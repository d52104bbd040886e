import { describe, expect, it } from 'vitest';
import { lengthNorms } from '../../src/objectives/lengthNorm.js';
import { type ReturnName, rewardToGo } from '../../src/objectives/returns.js';
import { logRatios, shapeRewards } from '../../src/objectives/rewards.js';
import { normal, stream } from '../../src/random/streams.js';

const lists = (x: Float64Array[]) => x.map((row) => [...row]);
const close = (found: Float64Array[], expected: number[][], digits = 12) => {
  expect(found.map((row) => row.length)).toEqual(expected.map((row) => row.length));
  expected.forEach((row, i) => {
    row.forEach((x, t) => {
      expect(found[i]![t], `[${i}][${t}]`).toBeCloseTo(x, digits);
    });
  });
};
const ones = (rows: number[][]) => rows.map((row) => row.map(() => 1));

describe('rewards', () => {
  it('are ln p − ln q, per token', () => {
    expect(lists(logRatios([[-0.5, -3], [-1.25]], [[-1, -2], [-1]]))).toEqual([[0.5, -1], [-0.25]]);
  });

  it('are divided by the scale, then cut on both sides', () => {
    // /0.5 doubles: 0.5 -> 1, -1 -> -2, 4 -> 8; cut to ±1.5
    const raw = [[0.5, -1, 4]];
    expect(lists(shapeRewards(raw, { reward_scaling: 0.5, cliprange_reward: 1.5 }))).toEqual([
      [1, -1.5, 1.5],
    ]);
    expect(lists(shapeRewards(raw, { reward_scaling: 0.5 }))).toEqual([[1, -2, 8]]);
    expect(lists(shapeRewards(raw, { reward_scaling: 0, cliprange_reward: 0 }))).toEqual([[0.5, -1, 4]]);
  });

  it('refuse student and teacher of different lengths', () => {
    expect(() => logRatios([[-1]], [[-1, -2]])).toThrow(
      'teacher log-probabilities of response 0: 1 tokens, expected 2',
    );
  });
});

describe('returns by hand, r = 1 2 4, γ = 1/2', () => {
  const rewards = [[1, 2, 4]];
  const expectedRewards = [[-0.5, -0.25, -1]]; // −KL
  const terms = { rewards, expectedRewards, step: ones(rewards) };

  it('sampled without r_t: 2 + 4/2, 4, 0', () => {
    close(rewardToGo(terms, { form: 'sampled', gamma: 0.5, includeReward: false }), [[4, 4, 0]]);
  });
  it('sampled with r_t: 1 + 2/2 + 4/4, 2 + 4/2, 4', () => {
    close(rewardToGo(terms, { form: 'sampled', gamma: 0.5, includeReward: true }), [[3, 4, 4]]);
  });
  it('rao-blackwell without r_t: −0.25 − 1/2, −1, 0', () => {
    close(rewardToGo(terms, { form: 'rao-blackwell', gamma: 0.5, includeReward: false }), [[-0.75, -1, 0]]);
  });
  it('rao-blackwell with r_t keeps the sampled r_t: 1 − 0.75/2, 2 − 1/2, 4', () => {
    close(rewardToGo(terms, { form: 'rao-blackwell', gamma: 0.5, includeReward: true }), [[0.625, 1.5, 4]]);
  });
  it('γ = 0 leaves the next reward only', () => {
    close(rewardToGo(terms, { form: 'sampled', gamma: 0, includeReward: false }), [[2, 4, 0]]);
    close(rewardToGo(terms, { form: 'sampled', gamma: 0, includeReward: true }), [[1, 2, 4]]);
  });
  it('per-decision factors u = 0.5 2 0.8', () => {
    const weighted = { ...terms, step: [[0.5, 2, 0.8]] };
    // F_1 = 0.8·4 = 3.2; F_0 = 2·(2 + 3.2/2) = 7.2. Rao-Blackwell: −1; −0.25 + 2·(−1)/2 = −1.25
    close(rewardToGo(weighted, { form: 'sampled', gamma: 0.5, includeReward: false }), [[7.2, 3.2, 0]]);
    close(rewardToGo(weighted, { form: 'rao-blackwell', gamma: 0.5, includeReward: false }), [
      [-1.25, -1, 0],
    ]);
  });
  it('gae, λ 0.75, V = 8 4 2, with r_t: by the deltas', () => {
    // δ = 1 + 4/2 − 8 = −5, 2 + 2/2 − 4 = −1, 4 − 2 = 2. Â_2 = 2, Â_1 = −1 + 0.375·2 = −0.25, Â_0 = −5 − 0.375·0.25
    const options = { form: 'gae', gamma: 0.5, lambda: 0.75, includeReward: true } as const;
    close(rewardToGo({ ...terms, values: [[8, 4, 2]] }, options), [[8 - 5.09375, 4 - 0.25, 2 + 2]]);
  });
  it('gae without r_t: the rewards x = 2 4 0 of the return itself', () => {
    // δ = 2 + 4/2 − 8 = −4, 4 + 2/2 − 4 = 1; the last token has nothing ahead. Â_1 = 1 + 0.375·(0 − 2), Â_0 = −4 + 0.375·0.25
    const options = { form: 'gae', gamma: 0.5, lambda: 0.75, includeReward: false } as const;
    close(rewardToGo({ ...terms, values: [[8, 4, 2]] }, options), [[8 - 3.90625, 4.25, 0]]);
  });
  it('gae-rao-blackwell, λ 0: one expected reward and the value', () => {
    const valued = { ...terms, values: [[8, 4, 2]] };
    const zero = { form: 'gae-rao-blackwell', gamma: 0.5, lambda: 0 } as const;
    // without r_t: −0.25 + 4/2, −1 + 2/2; with it: 1 + 4/2, 2 + 2/2, 4
    close(rewardToGo(valued, { ...zero, includeReward: false }), [[1.75, 0, 0]]);
    close(rewardToGo(valued, { ...zero, includeReward: true }), [[3, 3, 4]]);
  });
  it('gae asks for values, and only when λ < 1', () => {
    const gae = { form: 'gae', gamma: 1, includeReward: false } as const;
    expect(() => rewardToGo(terms, { ...gae, lambda: 0.9 })).toThrow('returns gae need values');
    close(rewardToGo(terms, { ...gae, lambda: 1 }), [[6, 4, 0]]);
  });
  it('rao-blackwell asks for expected rewards', () => {
    expect(() =>
      rewardToGo({ rewards, step: ones(rewards) }, { form: 'rao-blackwell', gamma: 1, includeReward: false }),
    ).toThrow('expectedRewards');
  });
});

/** The definition, written out as a double loop. */
function naive(
  r: number[],
  e: number[],
  u: number[],
  form: ReturnName,
  gamma: number,
  withReward: boolean,
): number[] {
  return r.map((own, t) => {
    let future = 0;
    for (let k = t + 1; k < r.length; k++) {
      const before = u.slice(t + 1, k).reduce((a, b) => a * b, 1); // Π_{t<j<k}
      const term = form === 'sampled' ? before * u[k]! * r[k]! : before * e[k]!;
      future += gamma ** (withReward ? k - t : k - t - 1) * term;
    }
    return withReward ? own + future : future;
  });
}

describe('returns against the double loop, 20 random responses of 1 to 12 tokens', () => {
  const rng = stream(3, 'returns');
  const random = (length: number, scale = 1) => Array.from({ length }, () => scale * normal(rng));
  const lengths = Array.from({ length: 20 }, (_, i) => 1 + (i % 12));
  const rewards = lengths.map((n) => random(n));
  const expectedRewards = lengths.map((n) => random(n).map((x) => -Math.abs(x)));
  const step = lengths.map((n) => random(n, 0.2).map(Math.exp));
  for (const form of ['sampled', 'rao-blackwell'] as const) {
    for (const gamma of [1, 0.95]) {
      for (const includeReward of [true, false]) {
        it(`${form}, γ ${gamma}, ${includeReward ? 'R_t' : 'R_{t+1}'}`, () => {
          const expected = rewards.map((r, i) =>
            naive(r, expectedRewards[i]!, step[i]!, form, gamma, includeReward),
          );
          close(rewardToGo({ rewards, expectedRewards, step }, { form, gamma, includeReward }), expected, 10);
        });
      }
    }
  }
});

describe('gae against the sum of deltas, 20 random responses', () => {
  const rng = stream(4, 'gae');
  const random = (length: number) => Array.from({ length }, () => normal(rng));
  const lengths = Array.from({ length: 20 }, (_, i) => 1 + (i % 12));
  const [rewards, expectedRewards, values] = [lengths.map(random), lengths.map(random), lengths.map(random)];
  const [gamma, lambda] = [0.9, 0.7];
  for (const form of ['gae', 'gae-rao-blackwell'] as const) {
    for (const includeReward of [true, false]) {
      it(`${form}, ${includeReward ? 'R_t' : 'R_{t+1}'}`, () => {
        const found = rewardToGo(
          { rewards, expectedRewards, values, step: ones(rewards) },
          { form, gamma, lambda, includeReward },
        );
        found.forEach((row, i) => {
          const [r, e, v] = [rewards[i]!, expectedRewards[i]!, values[i]!];
          const future = form === 'gae' ? r : e;
          // The rewards that the return of t sums: r_t or r_{t+1} first; without r_t the last token has none.
          const sums = (t: number) =>
            includeReward ? [r[t]!, ...future.slice(t + 1)] : [...future.slice(t + 1), 0];
          row.forEach((g, t) => {
            const advantage = sums(t).reduce(
              (sum, x, l) => sum + (gamma * lambda) ** l * (x + gamma * (v[t + l + 1] ?? 0) - v[t + l]!),
              0,
            );
            expect(g, `[${i}][${t}]`).toBeCloseTo(v[t]! + advantage, 11);
          });
        });
      });
    }
  }
});

describe('length normalisation', () => {
  const rewards = [[1, 2, 4]];
  const terms = { rewards, step: ones(rewards) };
  const sampled = { form: 'sampled', gamma: 1 } as const;

  it('remaining: L − t − 1 without r_t and 0 for the last token; L − t with it', () => {
    close(lengthNorms.remaining.compute(terms, { ...sampled, includeReward: false }).returns, [[3, 4, 0]]);
    close(lengthNorms.remaining.compute(terms, { ...sampled, includeReward: true }).returns, [[7 / 3, 3, 4]]);
  });

  it('remaining: values are of the normalised return, and count once for every token ahead', () => {
    const gae = { form: 'gae', gamma: 1, lambda: 0, includeReward: false } as const;
    const valued = { ...terms, values: [[9, 5, 7]] };
    // (2 + 5·1)/2, (4 + 7·0)/1, 0; with r_t: (1 + 5·2)/3, (2 + 7·1)/2, 4
    close(lengthNorms.remaining.compute(valued, gae).returns, [[3.5, 4, 0]]);
    close(lengthNorms.remaining.compute(valued, { ...gae, includeReward: true }).returns, [[11 / 3, 4.5, 4]]);
  });

  it('off leaves the return', () => {
    close(lengthNorms.off.compute(terms, { ...sampled, includeReward: false }).returns, [[6, 4, 0]]);
  });

  it('total, by hand', () => {
    // Two responses: r = 1 2 (T 2, S 3) and r = 4 (T 1). c_0 = (1/2 + 1)/2 = 0.75, c_1 = 1/2.
    const two = { rewards: [[1, 2], [4]], expectedRewards: [[-0.5, -1], [-0.5]], step: [[1, 1], [1]] };
    const without = lengthNorms.total.compute(two, { ...sampled, includeReward: false });
    close(without.klWeights, [[0.75, 0.5], [0.75]]);
    // (3−1)/2 + 0.75 − 0.75·1 = 1;  (3−1)/2 − 0.5·(1−1) − 0.5·2 = 0;  (4−1)/1 + 0.75 − 0.75·4 = 0.75
    close(without.returns, [[1, 0], [0.75]]);
    close(lengthNorms.total.compute(two, { ...sampled, includeReward: true }).returns, [[1.75, 1], [3.75]]);
    // rao-blackwell: minus c_1 (r_1 + KL_1) = 0.5·(2 + 1) = 1.5 at t = 0
    const rb = lengthNorms.total.compute(two, { form: 'rao-blackwell', gamma: 1, includeReward: false });
    close(rb.returns, [[-0.5, 0], [0.75]]);
    // Factors u = 1 0.5: the tail product 0.5 on (3−1)/2, the surprise by u_1: 0.5 + 0.75 − 0.75 − 0.75 = −0.25
    const weighted = { ...two, step: [[1, 0.5], [1]] };
    const product = lengthNorms.total.compute(weighted, {
      form: 'rao-blackwell',
      gamma: 1,
      includeReward: false,
    });
    close(product.returns, [[-0.25, 0], [0.75]]);
  });

  it('total of one length only is the plain return over T', () => {
    const equal = {
      rewards: [
        [1, 2, 4],
        [3, 5, 7],
      ],
      step: [
        [1, 1, 1],
        [1, 1, 1],
      ],
    };
    const expected = [
      [6 / 3, 4 / 3, 0],
      [12 / 3, 7 / 3, 0],
    ];
    close(lengthNorms.total.compute(equal, { ...sampled, includeReward: false }).returns, expected);
  });

  it('total does not bootstrap', () => {
    const gae = { form: 'gae', gamma: 1, lambda: 1, includeReward: false } as const;
    expect(() => lengthNorms.total.compute(terms, gae)).toThrow('total has no form for returns gae');
  });

  it('total has no discount', () => {
    expect(() =>
      lengthNorms.total.compute(terms, { form: 'sampled', gamma: 0.9, includeReward: false }),
    ).toThrow('gamma 0.9, expected 1');
  });
});
