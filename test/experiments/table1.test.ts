import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { classRows } from '../../experiments/calibration/rows.js';
import {
  bootstrapTwoStage,
  bySeeds,
  overRuns,
  pairedGroups,
  readSweepStudents,
} from '../../experiments/students.js';
import { rareRows, wordings } from '../../experiments/table1/rare.js';
import { loadWordnet } from '../../src/data/wordnet.js';
import { drawRows, splitOf } from '../../src/data/wordnet-build.js';
import { simpleEntries } from '../../src/data/wordnet-entries.js';
import { tasks } from '../../src/data/wordnet-tasks.js';

const place = mkdtempSync(path.join(tmpdir(), 'table1-'));
afterAll(() => rmSync(place, { recursive: true }));

/** A sweep of two methods and two seeds whose values per prompt are given. */
function writeSweep(values: Record<string, number[]>, status = 'done'): string {
  const runs = Object.entries(values).map(([name, perPrompt]) => {
    const [method, seed] = name.split('_seed-');
    const directory = path.join(place, name);
    mkdirSync(directory, { recursive: true });
    const mean = perPrompt.reduce((a, b) => a + b) / perPrompt.length;
    const metrics = { rouge_l_sampled: { mean, stderr: null, n: perPrompt.length } };
    const per_prompt = { rouge_l_sampled: perPrompt };
    writeFileSync(
      path.join(directory, 'evaluation.json'),
      JSON.stringify({ metrics, per_prompt, prompt_set: 'p' }),
    );
    return { name, fields: { method, seed: Number(seed) }, status, directory, steps: 5, train_seconds: 2 };
  });
  writeFileSync(path.join(place, 'sweep.json'), JSON.stringify({ runs }));
  return place;
}

describe('students of a sweep', () => {
  const sweep = {
    'kd_seed-1': [1, 2, 3],
    'kd_seed-2': [2, 3, 4],
    'minillm_seed-1': [2, 4, 3],
    'minillm_seed-2': [4, 3, 8],
  };

  it('are put together by everything but the seed; errors are over training runs', () => {
    const groups = bySeeds(readSweepStudents(writeSweep(sweep)));
    expect([...groups.keys()]).toEqual(['kd', 'minillm']);
    expect(overRuns(groups.get('kd')!, 'rouge_l_sampled')).toEqual({ mean: 2.5, stderr: 0.5, n: 2 });
    expect(() => overRuns(groups.get('kd')!, 'ece')).toThrow('kd_seed-1: its evaluation has no ece');
  });

  it('are subtracted seed by seed and prompt by prompt', () => {
    const groups = bySeeds(readSweepStudents(writeSweep(sweep)));
    const { mean, low, high } = pairedGroups(groups.get('minillm')!, groups.get('kd')!, 'rouge_l_sampled');
    // Seed 1: 1, 2, 0. Seed 2: 2, 0, 4.
    expect(mean).toBe(1.5);
    // Every resample lies between the least and the greatest difference that it can draw.
    expect(low).toBeGreaterThanOrEqual(0);
    expect(low).toBeLessThan(1.5);
    expect(high).toBeGreaterThan(1.5);
    expect(high).toBeLessThanOrEqual(4);
    expect(pairedGroups(groups.get('kd')!, groups.get('kd')!, 'rouge_l_sampled')).toEqual({
      mean: 0,
      low: 0,
      high: 0,
    });
    expect(() =>
      pairedGroups(groups.get('kd')!, groups.get('minillm')!.slice(0, 1), 'rouge_l_sampled'),
    ).toThrow(/^kd_seed-2: nothing to pair/);
  });

  it('are refused when one failed', () => {
    writeSweep(sweep, 'failed');
    expect(() => readSweepStudents(place)).toThrow(/kd_seed-1, .* failed; run the sweep again/);
  });
});

describe('two-stage bootstrap', () => {
  it('has the deviation of a mean over prompts where the seeds agree, and more where they do not', () => {
    const prompts = Array.from({ length: 400 }, (_, i) => (i % 2 === 0 ? 1 : -1));
    const same = bootstrapTwoStage([prompts, prompts, prompts], 2000, 'same');
    // 1.96 · 1/√400 = 0.098
    expect(same.mean).toBeCloseTo(0, 12);
    expect(same.high).toBeCloseTo(0.098, 1.8);
    expect(same.low).toBeCloseTo(-0.098, 1.8);
    const shifted = [-0.5, 0, 0.5].map((shift) => prompts.map((x) => x + shift));
    const wide = bootstrapTwoStage(shifted, 2000, 'shifted');
    // Seeds alone: deviation √(1/6)/√3 = 0.236, so ± 0.46.
    expect(wide.high).toBeGreaterThan(0.35);
    expect(wide.low).toBeLessThan(-0.35);
  });
});

describe('the second split', () => {
  const synsets = loadWordnet().synsets;
  const rows = rareRows(200, 1);

  it('asks about test words, in wordings and with meanings that no training row has', () => {
    const asked = new Set(Object.values(tasks).flatMap(({ instructions }) => [...instructions] as string[]));
    for (const wording of Object.values(wordings)) expect(asked.has(wording), wording).toBe(false);
    const common = new Set(simpleEntries(synsets).map(({ meaning }) => meaning));
    const defined = rows.filter(({ task }) => task === 'define');
    expect(rows).toHaveLength(200);
    expect(defined).toHaveLength(40);
    for (const { output } of defined) expect(common.has(output), output).toBe(false);
    for (const { word, task, instruction } of rows) {
      expect(splitOf(word)).toBe('test');
      expect(instruction).toBe(wordings[task]);
    }
    const training = drawRows(simpleEntries(synsets), 'train', 300, 1);
    expect(training.some(({ instruction }) => Object.values(wordings).includes(instruction))).toBe(false);
  });
});

describe('classification rows', () => {
  it('have four choices, the answer among them, and words of the test part', () => {
    const rows = classRows(100, 1);
    expect(rows).toHaveLength(100);
    for (const { output, choices, word } of rows) {
      expect(choices).toHaveLength(4);
      expect(choices).toContain(output);
      expect(splitOf(word)).toBe('test');
    }
    expect(new Set(rows.map(({ output }) => output)).size).toBe(4);
  });
});
