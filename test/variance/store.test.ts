import { appendFileSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeEach, describe, expect, it } from 'vitest';
import type { Measurement } from '../../src/variance/measure.js';
import { appendMeasurement, openStore } from '../../src/variance/store.js';
import { temporaryDirectory } from '../helpers/temporary.js';

const place = temporaryDirectory('variance-store');
afterAll(place.remove);

const setting = { format: 1, repeats: 2, objective: { alpha: 0.2 }, list: [1, 2] };
const measurement: Measurement = {
  name: 'a/b',
  own: [Float64Array.of(1 / 3, -2e-9), Float64Array.of(-2e-9, 7)],
  cross: [Float64Array.of(1, 2), Float64Array.of(3, 4)],
  effective_sample_size: 0.9,
  cost: {
    sampling_s: 0.1,
    gradient_s: 0.2,
    student_tokens: 6,
    teacher_tokens: 3,
    response_tokens: 2,
    computation: 9,
  },
};

describe('a directory of measurements', () => {
  let count = 0;
  let directory: string;
  beforeEach(() => {
    directory = join(place.path, String(count++), 'deep');
  });
  const file = (): string => join(directory, 'measurements.jsonl');

  it('gives back what was measured, to the bit', async () => {
    expect(await openStore(directory, setting, 2)).toEqual([]);
    await appendMeasurement(directory, measurement);
    await appendMeasurement(directory, { ...measurement, name: 'c' });
    expect(await openStore(directory, setting, 2)).toEqual([measurement, { ...measurement, name: 'c' }]);
  });

  it('cuts off the line that a kill tore', async () => {
    await openStore(directory, setting, 2);
    await appendMeasurement(directory, measurement);
    const whole = readFileSync(file(), 'utf8');
    appendFileSync(file(), '{"name":"half","own":[[1');
    expect(await openStore(directory, setting, 2)).toEqual([measurement]);
    expect(readFileSync(file(), 'utf8')).toBe(whole);
  });

  it('refuses another setting, naming what differs', async () => {
    await openStore(directory, setting, 2);
    await expect(openStore(directory, { ...setting, objective: { alpha: 0 } }, 2)).rejects.toThrow(
      /setting\.json: objective was \{"alpha":0\.2\} and is \{"alpha":0\}; measure into another directory/,
    );
    await expect(openStore(directory, { ...setting, more: 1 }, 2)).rejects.toThrow(
      /more was absent and is 1/,
    );
  });

  it.each([
    ['cut off', (text: string) => `${text.slice(0, 60)}\n`, /measurements\.jsonl:1: not valid JSON/],
    [
      'of another shape',
      (text: string) => text.replace('"name":"a/b"', '"name":3'),
      /measurements\.jsonl:1: name: /,
    ],
    [
      'with too few products',
      (text: string) => text.replace('[1,2],', ''),
      /measurements\.jsonl:1: expected 2 by 2 scalar products/,
    ],
    [
      'with an unknown key',
      (text: string) => text.replace('{', '{"__proto__":1,'),
      /measurements\.jsonl:1: /,
    ],
  ])('a line %s: one line', async (_, damage, message) => {
    await openStore(directory, setting, 2);
    await appendMeasurement(directory, measurement);
    writeFileSync(file(), damage(readFileSync(file(), 'utf8')));
    await expect(openStore(directory, setting, 2)).rejects.toThrow(message);
  });

  it.each([
    ['no JSON', '{'],
    ['no object', '7'],
  ])('a setting that is %s: one line', async (_, text) => {
    await openStore(directory, setting, 2);
    writeFileSync(join(directory, 'setting.json'), text);
    await expect(openStore(directory, setting, 2)).rejects.toThrow(/setting\.json: /);
  });

  it('a file in the way: one line', async () => {
    writeFileSync(join(place.path, 'file'), '');
    await expect(openStore(join(place.path, 'file'), setting, 2)).rejects.toThrow(
      /file: cannot be used for results \(EEXIST\)/,
    );
  });
});
