import { describe, expect, it } from 'vitest';
import { type EstimatorRow, runOracle } from '../../src/oracle/oracle.js';
import { parseWorld } from '../../src/oracle/worldFile.js';
import { type Choice, naiveMoments } from './naive.js';
import { randomWorldJson, type WorldJson, withTask } from './worlds.js';

/** Rows of the grid against an enumeration that shares no code with it. */
const parameters = { gae_lambda: 0.7, truncation: 1.05 };

function naiveRow(json: WorldJson, row: EstimatorRow, gradient: number[]) {
  const { mean, variance } = naiveMoments(json, {
    ...(row as unknown as Choice),
    critic: row.values === 'wrong' ? 0.5 : 1,
    lambda: parameters.gae_lambda,
    truncation: parameters.truncation,
  });
  const norm = Math.hypot(...gradient);
  const own = Math.hypot(...mean);
  const product = mean.reduce((sum, x, i) => sum + x * gradient[i]!, 0);
  return {
    relative_bias: Math.hypot(...mean.map((x, i) => x - gradient[i]!)) / norm,
    cosine: product / norm / own,
    variance,
  };
}

describe.each([
  ['vocabulary 3, horizon 3, K = 2', randomWorldJson(3, 3, 21), [2], 1],
  ['vocabulary 2, horizon 3, K = 4', randomWorldJson(2, 3, 22), [4], 2],
  ['a task and 0.7 of the KL', withTask(randomWorldJson(2, 3, 23), 0.7), [2], 3],
])('%s', (_, json, samples, stride) => {
  const result = runOracle(parseWorld({ ...json, alpha: 0.4 }, 'world'), { samples, parameters });
  const gradient = result.gradient.flatMap(({ values }) => values);
  // Every choice of every axis appears many times; all combinations would take minutes.
  const rows = result.estimators.filter(
    (row, i) => i % 11 === stride && (row.alpha > 0 || row.importance === 'none'),
  );

  it('covers every name of every axis', () => {
    for (const axis of ['returns', 'baseline', 'importance', 'sampling', 'single_step', 'values'] as const) {
      const all = new Set(result.estimators.map((row) => row[axis]));
      expect(new Set(rows.map((row) => row[axis])), axis).toEqual(all);
    }
    expect(rows.length).toBeGreaterThan(100);
  });

  it('equals the naive enumeration: bias, cosine, variance', () => {
    for (const row of rows) {
      const expected = naiveRow(json, row, gradient);
      for (const [name, value] of Object.entries(expected)) {
        const found = row[name as keyof typeof expected];
        expect(Math.abs(found - value), `${name} of ${JSON.stringify(row)}: ${value} expected`).toBeLessThan(
          1e-10 * Math.max(1, Math.abs(value)),
        );
      }
    }
  });
});
