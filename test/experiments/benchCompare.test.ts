import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { chosen, merged, requireNative } from '../../experiments/bench/compare.js';
import { type Timing, writePrompts } from '../../experiments/bench/processes.js';
import { met, rowsOf, TCMALLOC, table } from '../../experiments/bench/rows.js';
import { type Workload, workloads } from '../../experiments/bench/workloads.js';
import { runInProcess } from '../helpers/cli.js';

const place = mkdtempSync(join(tmpdir(), 'bench-'));
afterAll(() => rmSync(place, { recursive: true }));

const timing = (seconds: number, min_s: number, max_s: number, peak_rss_mb?: number): Timing => ({
  ...{ seconds, min_s, max_s },
  ...(peak_rss_mb !== undefined && { peak_rss_mb }),
});
const workload: Workload = {
  name: 'round',
  models: ['small'],
  sides: { minillm: { ours: [] }, lean: { theirs: [] } },
  rows: [{ ours: 'minillm', theirs: 'lean', what: 'a round', target: 0.5, memoryTarget: 1 }],
};
const ours = [timing(1, 0.9, 1.2, 300), timing(3, 2, 4, 500), timing(2, 1.5, 2.5, 400)];
const theirs = [timing(4, 3.5, 4.5, 350), timing(4, 3.9, 8, 350), timing(5, 4, 6, 360)];

describe('rows of the comparison with PyTorch', () => {
  const [row, ...rest] = rowsOf(workload, { minillm: ours, lean: theirs });

  it('take the ratio of the medians, its range over the turns, and the quickest and slowest repeat', () => {
    expect(rest).toEqual([]);
    expect(row).toEqual({
      ...{ workload: 'round', what: 'a round', allocator: 'default', target: 0.5, memory_target: 1 },
      // Medians 2 and 4; the turns have 1/4, 3/4 and 2/5.
      ...{ ratio: 0.5, ratio_min: 0.25, ratio_max: 0.75 },
      ...{ ours_s: [2, 0.9, 4], theirs_s: [4, 3.5, 8], ours_mb: 400, theirs_mb: 350 },
    });
  });

  it('miss the target by time or by memory', () => {
    expect(met(row!)).toBe(false);
    expect(met({ ...row!, ours_mb: 350 })).toBe(true);
    expect(met({ ...row!, ours_mb: 350, ratio: 0.51 })).toBe(false);
  });

  it('have a second row where the other side ran with tcmalloc, and one line of the table for both', () => {
    const fast = [timing(2, 2, 2, 340), timing(2, 2, 2, 340), timing(2.5, 2, 3, 340)];
    const both = rowsOf(workload, { minillm: ours, lean: theirs, [`lean${TCMALLOC}`]: fast });
    expect(both.map((r) => [r.allocator, r.ratio])).toEqual([
      ['default', 0.5],
      ['tcmalloc', 1],
    ]);
    expect(table(both).split('\n').slice(2)).toEqual([
      '| a round | **0.50** (0.25–0.75) | ≤ 0.5, memory ≤ 1.0, not met | 2.00 (0.90–4.00) s | 4.00 (3.50–8.00) s | 1.00 | 400 / 350 |',
      '',
    ]);
  });

  it('leave memory out where a whole process was timed', () => {
    const [wall] = rowsOf(
      { ...workload, rows: [{ ...workload.rows[0]!, memoryTarget: 1 }] },
      {
        minillm: [timing(0.05, 0.04, 0.06)],
        lean: [timing(0.2, 0.1, 0.3)],
      },
    );
    expect(wall).not.toHaveProperty('ours_mb');
    expect(table([wall!])).toContain('| 50.0 (40.0–60.0) ms | 200 (100–300) ms |  |  |');
  });
});

describe('a comparison of some workloads', () => {
  it('is asked for by the beginnings of their names', () => {
    expect(chosen(['sft-t', 'start']).map((w) => w.name)).toEqual(['sft-tiny', 'start-up']);
    expect(chosen([])).toEqual(workloads);
    expect(() => chosen(['sft', 'stf'])).toThrow(
      /^stf: no such workload; expected the beginning of sft-small, /,
    );
  });

  it('replaces their rows and keeps the others, in the order of the list', () => {
    const before = [
      { workload: 'sft-small', run: 1 },
      { workload: 'generate-eos', run: 1 },
      { workload: 'start-up', run: 1 },
    ];
    const now = [
      { workload: 'generate-eos', run: 2 },
      { workload: 'score-small', run: 2 },
    ];
    expect(merged(before, now).map(({ workload: name, run }) => `${name} ${run}`)).toEqual([
      'sft-small 1',
      'score-small 2',
      'generate-eos 2',
      'start-up 1',
    ]);
  });
});

it('is refused without the native engine and its kernels', () => {
  const wasm = { name: 'wasm', reason: 'tensorflow: not set up yet' } as const;
  expect(() => requireNative(wasm, false)).toThrow(
    /not there \(tensorflow: not set up yet\).*minillm -- setup/,
  );
  expect(() => requireNative({ name: 'tensorflow', reason: 'the fastest' }, false)).toThrow(/our kernels/);
  expect(() => requireNative({ name: 'tensorflow', reason: 'the fastest' }, true)).not.toThrow();
});

describe('the prompts that both sides read', () => {
  it('are files of 32 ids a row that the smallest vocabulary has, the same at every call', () => {
    writePrompts(place);
    const text = readFileSync(join(place, 'prompts-128.jsonl'), 'utf8');
    const rows = text
      .trim()
      .split('\n')
      .map((line) => (JSON.parse(line) as { ids: number[] }).ids);
    expect(rows).toHaveLength(128);
    expect(rows.every((ids) => ids.length === 32 && ids.every((id) => id >= 0 && id < 1024))).toBe(true);
    writePrompts(place);
    expect(readFileSync(join(place, 'prompts-128.jsonl'), 'utf8')).toBe(text);
  });

  const bench = (what: string, ...more: string[]) =>
    runInProcess(
      ...[
        'bench',
        '--what',
        what,
        '--shape',
        '1,8,1,16',
        '--backend',
        'cpu',
        '--warmup',
        '0',
        '--repeat',
        '1',
      ],
      ...['--max-response', '3', '--json', '--quiet', ...more],
    );

  it('are as many as minillm bench answers', async () => {
    const file = join(place, 'three.jsonl');
    writeFileSync(file, '{"ids":[1,2]}\n{"ids":[3]}\n{"ids":[4,5,15]}\n');
    const { code, stdout } = await bench('generate', '--input', file);
    const { seconds, tokens_per_s } = JSON.parse(stdout) as { seconds: number; tokens_per_s: number };
    expect(code).toBe(0);
    expect(seconds * tokens_per_s).toBeCloseTo(9, 6);
  });

  it('are refused as text, and for other work', async () => {
    const file = join(place, 'text.jsonl');
    writeFileSync(file, '{"ids":[1]}\n{"prompt":"Say"}\n');
    const text = await bench('generate', '--input', file);
    expect([text.code, text.stderr]).toEqual([2, expect.stringContaining('row 1 has no "ids"')]);
    const score = await bench('score', '--input', file);
    expect([score.code, score.stderr]).toEqual([2, expect.stringContaining('no meaning for --what score')]);
  });
});
