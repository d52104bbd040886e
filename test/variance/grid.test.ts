import { describe, expect, it } from 'vitest';
import { baselineNames, baselines } from '../../src/objectives/baselines.js';
import { importanceNames } from '../../src/objectives/importance.js';
import { presetNames, presets, resolveObjective } from '../../src/objectives/presets.js';
import { futureNames } from '../../src/objectives/returns.js';
import { samplingSchemeNames } from '../../src/rollout/uniforms.js';
import { estimators, referenceEstimator } from '../../src/variance/grid.js';

const base = resolveObjective('minillm');
const names = (options: Partial<Parameters<typeof estimators>[0]> = {}): string[] =>
  estimators({ base, samples: 4, ...options }).map(({ name }) => name);

describe('the grid', () => {
  it('with all: every entry of every record, weights only where there is mixing', () => {
    const all = names({ all: true });
    const plain = futureNames.length * baselineNames.length * samplingSchemeNames.length;
    expect(all).toHaveLength(presetNames.length + plain + plain * importanceNames.length);
    expect(new Set(all).size).toBe(all.length);
    for (const [i, list] of [futureNames, baselineNames, importanceNames, samplingSchemeNames].entries()) {
      expect(new Set(all.slice(presetNames.length).map((name) => name.split('/')[i]))).toEqual(new Set(list));
    }
  });

  it('by default one axis at a time around the base', () => {
    const some = names();
    expect(some).toHaveLength(
      presetNames.length +
        futureNames.length * baselineNames.length +
        (samplingSchemeNames.length - 1) +
        importanceNames.length,
    );
    expect(some).toContain('sampled/leave-one-out/none/independent/0');
    expect(some).toContain('rao-blackwell/position/none/stratified/0');
    expect(some).toContain('rao-blackwell/position/prefix/independent/0.2');
    expect(some).not.toContain('sampled/none/none/stratified/0');
  });

  it('leaves out what K samples cannot give', () => {
    const one = names({ samples: 1, all: true });
    const parts = one.slice(presetNames.length).map((name) => name.split('/'));
    expect(new Set(parts.map((p) => p[3]))).toEqual(new Set(['independent']));
    expect(parts.some((p) => baselines[p[1] as 'none'].ofSamples)).toBe(false);
    expect(new Set(names({ samples: 3, all: true }).map((n) => n.split('/')[3]))).not.toContain('antithetic');
    const total = { base: resolveObjective('minillm', { length_norm: 'total' }), all: true };
    expect(names(total).some((name) => name.startsWith('gae'))).toBe(false);
  });

  it('patterns', () => {
    expect(names({ patterns: ['preset/paper', '*/none/none/independent/0'] })).toEqual([
      'preset/paper',
      ...futureNames.map((r) => `${r}/none/none/independent/0`),
    ]);
    expect(names({ patterns: ['sampled/position/token/independent'] })).toEqual([
      'sampled/position/token/independent/0.2',
    ]);
    expect(() => names({ patterns: ['sampled/nonsense'] })).toThrow(
      /^--estimators sampled\/nonsense: no such estimator; expected returns\/baseline/,
    );
    expect(() => names({ patterns: ['preset/minillm/none'] })).toThrow('no such estimator');
  });

  it('a point is the base with the axes changed; running products weigh both terms', () => {
    const list = estimators({ base, samples: 4, all: true });
    const find = (name: string) => list.find((e) => e.name === name)!.objective;
    expect(find('sampled/batch/token/independent/0.2')).toEqual({
      ...base,
      alpha: 0.2,
      returns: 'sampled',
      baseline: 'batch',
      importance: 'token',
    });
    expect(find('sampled/batch/prefix/independent/0.2').w_on_reg).toBe(true);
    expect(find('rao-blackwell/position/none/independent/0')).toEqual({
      ...find('preset/minillm'),
      ...{ importance: 'none', w_on_reg: true }, // of weights that are 1
    });
    const mixed = resolveObjective('minillm', { alpha: 0.4 });
    expect(estimators({ base: mixed, samples: 4 }).map(({ name }) => name)).toContain(
      'rao-blackwell/position/token/independent/0.4',
    );
    expect(find('preset/lmops')).toEqual(presets.lmops);
  });

  it('the reference is one of the grid', () => {
    const { name, objective } = referenceEstimator(base);
    expect(name).toBe('rao-blackwell/none/none/independent/0');
    expect(estimators({ base, samples: 1 }).find((e) => e.name === name)!.objective).toEqual(objective);
  });
});
