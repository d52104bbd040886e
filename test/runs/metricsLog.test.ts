import { appendFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { UsageError } from '../../src/errors.js';
import { type MetricsRow, metricsLine, openMetricsLog, readMetrics } from '../../src/runs/metricsLog.js';

let directory: string;
let file: string;
beforeEach(() => {
  directory = mkdtempSync(path.join(tmpdir(), 'metrics-'));
  file = path.join(directory, 'metrics.jsonl');
});
afterEach(() => rmSync(directory, { recursive: true }));

const row = (step: number, phase = 'train'): MetricsRow => ({
  step,
  round: 1,
  phase,
  wall_s: step / 2,
  loss: 1 / step,
});

describe('metricsLine', () => {
  it('puts the four common fields first and keeps the order of the metrics', () => {
    expect(metricsLine({ loss: 0.1, kl: 2, wall_s: 3.5, phase: 'train', round: 2, step: 7 })).toBe(
      '{"step":7,"round":2,"phase":"train","wall_s":3.5,"loss":0.1,"kl":2}',
    );
  });

  it('writes what is no JSON number as null and names it', () => {
    const line = metricsLine({
      ...row(1),
      loss: Number.NaN,
      kl: Number.POSITIVE_INFINITY,
      note: null,
      fine: 0,
    });
    expect(line).toBe(
      '{"step":1,"round":1,"phase":"train","wall_s":0.5,"loss":null,"kl":null,"note":null,"fine":0,"_nonfinite":["loss","kl"]}',
    );
  });

  it('gives back every double exactly', () => {
    const values = [0.1 + 0.2, Number.MIN_VALUE, Number.MAX_VALUE, 1 / 3, 5e-324, -123456789.12345678];
    for (const loss of values) expect(JSON.parse(metricsLine({ ...row(1), loss })).loss).toBe(loss);
  });
});

describe('openMetricsLog', () => {
  it('has each line in the file as soon as write returns', () => {
    const log = openMetricsLog(file);
    log.write(row(1));
    expect(readFileSync(file, 'utf8')).toBe(`${metricsLine(row(1))}\n`);
    log.write(row(2));
    expect(readMetrics(file)).toEqual([row(1), row(2)]);
    log.close();
  });

  it('makes a resumed file equal to an uninterrupted one, wherever the first try stopped', () => {
    const whole = [row(1), row(2), row(2, 'valid'), row(3), row(4), row(4, 'valid')];
    const expected = whole.map((r) => `${metricsLine(r)}\n`).join('');
    // Cut at every byte from the checkpoint of step 2 on: between lines and within them.
    const checkpoint = expected.indexOf('{"step":3');
    for (let cut = checkpoint; cut <= expected.length; cut++) {
      writeFileSync(file, expected.slice(0, cut));
      const log = openMetricsLog(file, { resumeAtStep: 2 });
      for (const r of whole.filter(({ step }) => step > 2)) log.write(r);
      log.close();
      expect(readFileSync(file, 'utf8')).toBe(expected);
    }
  });

  it('keeps the bytes of a kept line, however it was written', () => {
    writeFileSync(file, '{"step": 1, "2": 1, "a": 1.50}\n{"step": 2}\n');
    openMetricsLog(file, { resumeAtStep: 1 }).close();
    expect(readFileSync(file, 'utf8')).toBe('{"step": 1, "2": 1, "a": 1.50}\n');
  });

  it('begins again when resumed before the first checkpoint, and when there is no file', () => {
    writeFileSync(file, `${metricsLine(row(1))}\n{"st`);
    openMetricsLog(file, { resumeAtStep: -1 }).close();
    expect(readFileSync(file, 'utf8')).toBe('');
    openMetricsLog(path.join(directory, 'other.jsonl'), { resumeAtStep: 5 }).close();
  });

  it('does not append to the metrics of another run', () => {
    writeFileSync(file, `${metricsLine(row(1))}\n`);
    expect(() => openMetricsLog(file)).toThrow(UsageError);
    expect(readMetrics(file)).toEqual([row(1)]);
  });

  it.each(['not json', '[]', '{"round":1}', '{"step":"1"}', '{"step":1.5}', 'null', ''])(
    'names the file and line of a bad line: %s',
    (bad) => {
      writeFileSync(file, `${metricsLine(row(1))}\n${bad}\n`);
      const before = readFileSync(file, 'utf8');
      expect(() => openMetricsLog(file, { resumeAtStep: 1 })).toThrow(
        `${file}, line 2: expected a JSON object`,
      );
      expect(readFileSync(file, 'utf8')).toBe(before);
    },
  );

  it('drops what a loss of power left: zeros where bytes did not reach the disk, and lines after them', () => {
    const synced = `${metricsLine(row(1))}\n${metricsLine(row(2))}\n`;
    writeFileSync(file, `${synced}{"step":3,\0\0\0\0\0\n${metricsLine(row(4))}\n`);
    expect(readMetrics(file)).toEqual([row(1), row(2)]);
    openMetricsLog(file, { resumeAtStep: 2 }).close();
    expect(readFileSync(file, 'utf8')).toBe(synced);
  });

  it('leaves a torn last line out when reading', () => {
    writeFileSync(file, `${metricsLine(row(1))}\n`);
    appendFileSync(file, '{"step":2}'); // complete JSON, but its line end never arrived
    expect(readMetrics(file)).toEqual([row(1)]);
    expect(readMetrics(path.join(directory, 'absent.jsonl'))).toEqual([]);
  });
});
