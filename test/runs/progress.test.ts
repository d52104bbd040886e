import { describe, expect, it } from 'vitest';
import {
  createProgress,
  formatDuration,
  leaveBars,
  type ProgressOptions,
  writeAbove,
} from '../../src/runs/progress.js';

/** A stream that remembers, and a clock that is set by hand. */
function setup(options: Partial<ProgressOptions> & { isTTY?: boolean; columns?: number }) {
  const clock = { ms: 0 };
  const chunks: string[] = [];
  const { isTTY, columns, ...rest } = options;
  const stream = { isTTY, columns, write: (chunk: string) => chunks.push(chunk) };
  const progress = createProgress({ label: 'minillm', now: () => clock.ms, stream, ...rest });
  return { clock, progress, stream, text: () => chunks.join('') };
}

describe('formatDuration', () => {
  it.each([
    [0, '0:00'],
    [9.6, '0:10'],
    [75, '1:15'],
    [3599.4, '59:59'],
    [3675, '1:01:15'],
    [-1, '0:00'],
  ])('%s s is %s', (seconds, shown) => expect(formatDuration(seconds)).toBe(shown));
});

describe('createProgress off a terminal', () => {
  it('writes a plain line at most every N seconds, with rate, time left and the numbers', () => {
    const { clock, progress, text } = setup({ total: 100, everySeconds: 10 });
    for (let step = 1; step <= 30; step++) {
      clock.ms += 500;
      progress.update(step, { loss: 2.34567, kl: 0.000123, lr: 1e-3, length: 12 });
    }
    expect(text().split('\n').slice(0, -1)).toEqual([
      'minillm 1/100  loss 2.35  kl 0.000123  lr 0.001  length 12',
      'minillm 21/100  2 steps/s  0:40 left  loss 2.35  kl 0.000123  lr 0.001  length 12',
    ]);
    expect(text()).not.toContain('\r');
    expect(text()).not.toContain('\x1b');
  });

  it('tells a slow unit as seconds a unit and does without a total', () => {
    const { clock, progress, text } = setup({ unit: 'round', everySeconds: 0 });
    for (const ms of [9000, 13_000]) {
      clock.ms = ms;
      progress.update(ms === 9000 ? 1 : 2);
    }
    expect(text()).toBe('minillm 1 rounds\nminillm 2 rounds  4 s/round\n');
  });

  it('shows the last state at the end, once', () => {
    const { clock, progress, text } = setup({ total: 3, everySeconds: 60 });
    clock.ms = 1000;
    progress.update(1);
    clock.ms = 3000;
    progress.update(3, { loss: 1 });
    progress.finish();
    progress.finish();
    expect(text()).toBe('minillm 1/3\nminillm 3/3  1 steps/s  loss 1\n');
  });

  it('counts what an earlier process did in the total, not in the rate', () => {
    const { clock, progress, text } = setup({ total: 100, done: 90, everySeconds: 0 });
    clock.ms = 10_000;
    progress.update(91);
    clock.ms = 18_000;
    progress.update(95);
    expect(text()).toBe('minillm 91/100\nminillm 95/100  2 s/step  0:10 left\n');
  });

  it('follows the recent rate, not the slow beginning', () => {
    const { clock, progress, text } = setup({ total: 1000, everySeconds: 1e6 });
    clock.ms = 100_000;
    progress.update(1);
    for (let step = 2; step <= 100; step++) {
      clock.ms += 100;
      progress.update(step);
    }
    progress.finish();
    expect(text().split('\n').at(-2)).toBe('minillm 100/1000  10 steps/s  1:30 left');
  });
});

describe('the time left', () => {
  it('leaves out the first step, which warms up', () => {
    const { clock, progress, text } = setup({ total: 101, everySeconds: 0 });
    clock.ms = 10_000;
    progress.update(1);
    clock.ms += 100;
    progress.update(2);
    expect(text()).toBe('minillm 1/101\nminillm 2/101  10 steps/s  0:10 left\n');
  });

  it('is that of whole rounds, whose first step samples', () => {
    const { clock, progress, text } = setup({ total: 400, everySeconds: 0, period: 4 });
    for (let step = 1; step <= 9; step++) {
      clock.ms += step % 4 === 1 ? 7000 : 1000;
      progress.update(step);
    }
    const lines = text().split('\n');
    // 10 s a round of 4 steps, from the first whole round on.
    expect(lines.slice(0, 3)).toEqual(['minillm 1/400', 'minillm 2/400', 'minillm 3/400']);
    expect(lines[3]).toBe('minillm 4/400  2.5 s/step  16:30 left');
    expect(lines[8]).toBe('minillm 9/400  2.5 s/step  16:18 left');
  });

  it('counts no validation', () => {
    const { clock, progress, text } = setup({ total: 10, everySeconds: 0 });
    for (const step of [1, 2, 3]) {
      clock.ms += 1000;
      progress.update(step);
      clock.ms += 60_000;
      progress.exclude(60_000);
    }
    expect(text().split('\n')[2]).toBe('minillm 3/10  1 steps/s  0:07 left');
  });
});

describe('createProgress on a terminal', () => {
  it('cuts between numbers, never inside one', () => {
    const { clock, progress, text } = setup({ total: 4000, isTTY: true, columns: 62 });
    for (const step of [1, 2]) {
      clock.ms += 1000;
      progress.update(step, { loss: 1.5, reverse_kl: 2.25, response_length: 17.4 });
    }
    expect(text().split('\r\x1b[2K')[2]).toBe('minillm ░░░░░░░░░░░░░░░░░░░░ 2/4000  1 steps/s  1:06:38 left');
  });

  it.each([0, undefined])('takes %s columns for an unknown width and loses nothing', (columns) => {
    const { progress, text } = setup({ total: 2, isTTY: true, ...(columns === 0 && { columns }) });
    progress.update(1, { loss: 1.25 });
    expect(text()).toBe('\r\x1b[2Kminillm ██████████░░░░░░░░░░ 1/2  loss 1.25');
  });

  it('leaves the bar out where even the count does not fit beside it', () => {
    const { progress, text } = setup({ total: 2, isTTY: true, columns: 20 });
    progress.update(1);
    expect(text()).toBe('\r\x1b[2Kminillm 1/2');
  });

  it('lets lines of others begin on a line of their own', () => {
    const { progress, stream, text } = setup({ total: 2, isTTY: true });
    writeAbove('before', stream);
    progress.update(1);
    writeAbove('stopping after this step', stream);
    const bar = '\r\x1b[2Kminillm ██████████░░░░░░░░░░ 1/2';
    expect(text()).toBe(`before\n${bar}\r\x1b[2Kstopping after this step\n${bar}`);
    leaveBars();
    writeAbove('after', stream);
    expect(text().endsWith(`${bar}\nafter\n`)).toBe(true);
  });

  it('redraws one line, at most ten times a second, within the width', () => {
    const { clock, progress, text } = setup({ total: 4, isTTY: true, columns: 40 });
    for (let step = 1; step <= 4; step++) {
      clock.ms += 60;
      progress.update(step, { loss: 1.5, 'a long name that does not fit': 1 });
    }
    progress.finish();
    const frames = text().split('\r\x1b[2K').slice(1);
    expect(frames).toHaveLength(3); // at 60 and 180 ms, and the last state by finish
    expect(frames[1]).toBe('minillm ███████████████░░░░░ 3/4');
    for (const frame of frames) expect(frame.replace(/\n$/, '').length).toBeLessThan(40);
    expect(text().endsWith('\n')).toBe(true);
    expect(text().match(/\n/g)).toHaveLength(1);
  });

  it('puts a note above the bar and draws the bar again', () => {
    const { progress, text } = setup({ total: 2, isTTY: true });
    progress.note('before');
    progress.update(1);
    progress.note('best so far');
    const bar = 'minillm ██████████░░░░░░░░░░ 1/2';
    expect(text()).toBe(`before\n\r\x1b[2K${bar}\r\x1b[2Kbest so far\n\r\x1b[2K${bar}`);
  });

  it('survives done > total, total 0 and numbers that are none', () => {
    const { progress, text } = setup({ total: 2, isTTY: true });
    progress.update(5, { loss: Number.NaN, step: 'x' });
    expect(text()).toContain('████████████████████ 5/2  loss NaN  step x');
    const empty = setup({ total: 0, isTTY: true });
    empty.progress.update(0);
    expect(empty.text()).toBe('\r\x1b[2Kminillm 0/0');
  });
});

describe('createProgress --quiet', () => {
  it('writes nothing at all', () => {
    const { progress, text } = setup({ total: 2, isTTY: true, quiet: true });
    progress.update(1);
    progress.note('x');
    progress.finish();
    expect(text()).toBe('');
  });
});
