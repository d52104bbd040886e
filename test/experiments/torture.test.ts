import { existsSync, mkdtempSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { judge } from '../../experiments/torture/files/judge.js';
import { mutateJson, mutateJsonl, mutateTree } from '../../experiments/torture/files/mutate.js';
import { quickStream } from '../../experiments/torture/files/quickStream.js';
import { page } from '../../experiments/torture/page.js';
import type { Failure, Part, Work } from '../../experiments/torture/part.js';
import { disk } from '../../experiments/torture/parts/disk.js';
import { files } from '../../experiments/torture/parts/files.js';
import { campaign } from '../../experiments/torture/run.js';
import { openState, type PartState } from '../../experiments/torture/state.js';
import { RunError, UsageError } from '../../src/errors.js';
import { temporaryFolder } from '../helpers/temporary.js';

const place = temporaryFolder('torture');

/** A part that does a hundred cases, of which some fail until they are mended. */
function example(bad: (n: number) => boolean): Part {
  return {
    ...{ name: 'example', what: 'Cases.', leavesOut: 'the rest.', share: 1 },
    async run(work: Work) {
      for (let i = 0; i < 100; i++) {
        const n = work.take();
        work.count('cases', 1);
        if (bad(n)) work.fail({ case: n, where: 'a file', what: 'a stack trace' });
      }
    },
    again: async (_: Work, failure: Failure) => (bad(failure.case) ? 'a stack trace' : undefined),
  };
}

async function call(part: Part, out: string, minutes = 0.05): Promise<{ open: number; state: PartState }> {
  const options = { minutes, seed: 1, parts: [part], out, page: join(out, '..', 'page.md'), say: () => {} };
  const open = await campaign(options);
  return { open, state: openState(out, part.name, 1) };
}

describe('the frame', () => {
  it('goes on where it ended, and tells failures as mended once their cases are right', async () => {
    const out = join(place, 'frame');
    const first = await call(
      example((n) => n === 7 || n === 9),
      out,
    );
    expect(first.open).toBe(1); // alike: one failure, twice
    expect(first.state.failures[0]).toMatchObject({ case: 7, times: 2, what: 'a stack trace' });
    const second = await call(
      example(() => false),
      out,
    );
    expect(second.open).toBe(0);
    expect(second.state).toMatchObject({ next: 200, counts: { cases: 200 } });
    expect(second.state.failures[0]!.mended).toMatch(/^\d{4}-\d\d-\d\d$/);
    expect(second.state.sessions).toHaveLength(2);
  });

  it('refuses a state of another seed', async () => {
    const out = join(place, 'seed');
    await call(
      example(() => false),
      out,
    );
    expect(() => openState(out, 'example', 2)).toThrow('of seed 1, not 2; give another --out');
  });

  it('the page has the counts and what was found', () => {
    const state: PartState = {
      ...{
        seed: 1,
        sessions: [{ started: 'x', minutes: 1, commit: 'abc', machine: 'm' }],
        seconds: 90,
        next: 12345,
      },
      ...{ counts: { cases: 12345 }, facts: { memory: '1 | 2' } },
      failures: [
        { case: 7, times: 3, where: 'a|b', what: 'broke', found: '2026-01-01', mended: '2026-01-02' },
      ],
    };
    const text = page([{ part: example(() => false), state }]);
    expect(text).toContain('| [example](#example) | 1.5 | 12,345 | 1 | 0 |');
    expect(text).toContain('| cases | 12,345 |\n| memory | 1 \\| 2 |');
    expect(text).toContain('| a\\|b | broke | 3 | 2026-01-01 | mended 2026-01-02 |');
  });
});

describe('what is right', () => {
  it.each([
    ['one of ours that names the file', new UsageError('in/x.json: not JSON'), undefined],
    ['a failed run', new RunError('in: lost'), undefined],
    ['another class', new TypeError('in/x.json: bad'), 'TypeError: in/x.json: bad'],
    ['no file', new UsageError('bad'), 'a line that names no file: bad'],
  ])('%s', (_, error, expected) => {
    const found = judge(error, ['in']);
    if (expected === undefined) expect(found).toBeUndefined();
    else expect(found).toContain(expected);
  });
});

describe('damage', () => {
  const whole = Buffer.from('{"a":[1,2,{"b":"x"}],"c":null}\n{"d":1}\n');

  it('is the same for the same address, and other for another', () => {
    const make = (n: number): string => mutateJsonl(whole, quickStream(1, 'x', n)).bytes.toString('latin1');
    const all = Array.from({ length: 200 }, (_, n) => make(n));
    expect(Array.from({ length: 200 }, (_, n) => make(n))).toEqual(all);
    expect(new Set(all).size).toBeGreaterThan(150);
  });

  it('leaves the value that it is made from as it is, and changes most texts', () => {
    const value = { a: [1, 2, { b: 'x' }], c: null };
    const before = JSON.stringify(value);
    const texts = Array.from({ length: 300 }, (_, n) => mutateTree(value, quickStream(n)).text);
    expect(JSON.stringify(value)).toBe(before);
    expect(texts.filter((text) => text !== before).length).toBeGreaterThan(280);
    expect(texts.some((text) => text.includes('__proto__'))).toBe(true);
    expect(mutateJson(Buffer.from(before), quickStream(3)).bytes).toBeInstanceOf(Buffer);
  });
});

describe('a few seconds of each part find nothing', () => {
  it.each([files, disk])(
    '$name',
    async (part) => {
      const out = mkdtempSync(join(place, 'smoke-'));
      const { open, state } = await call(part, out, 0.1);
      expect(state.failures).toEqual([]);
      expect(open).toBe(0);
      expect(Object.values(state.counts).some((n) => n > 0)).toBe(true);
      expect(readFileSync(join(out, '..', 'page.md'), 'utf8')).toContain(`## ${part.name}`);
      expect(existsSync(join(out, `${part.name}.json`))).toBe(true);
    },
    600_000,
  );
});
