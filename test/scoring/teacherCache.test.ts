import { mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { SafetensorsFile } from '../../src/models/safetensors.js';
import { stream } from '../../src/random/streams.js';
import { CachedTeacher } from '../../src/scoring/cache/cachedTeacher.js';
import { type CacheSetting, writeIndex } from '../../src/scoring/cache/cacheIndex.js';
import { sequenceKey } from '../../src/scoring/cache/key.js';
import { writeShard } from '../../src/scoring/cache/shard.js';
import { topTokens } from '../../src/scoring/cache/topTokens.js';
import { temporaryDirectory } from '../helpers/temporary.js';

const place = temporaryDirectory('cache');
afterAll(() => place.remove());

const digest = '0'.repeat(64);
const setting: CacheSetting = {
  ...{ format: 1, kind: 'gold', top_k: 2, dtype: 'f16', temperature: 1, vocab: 4 },
  ...{
    teachers: [digest],
    tokenizer: 'x',
    data: {},
    rows_from: {},
    shard_rows: 10,
    batch_size: 16,
    engine: 'none',
  },
  parts: [{ name: 'training rows', rows: 1 }],
};

/** One row of two tokens; the second gold token is not among the two likeliest. */
const sequence = { promptIds: [3, 1], responseIds: [0, 2] };
const p = [
  [0.5, 0.25, 0.125, 0.125],
  [0.5, 0.375, 0.0625, 0.0625],
];
const logprobs = Float32Array.from(p.flat(), Math.log);

async function write(name: string, change: Partial<CacheSetting> = {}): Promise<string> {
  const directory = join(place.path, name);
  mkdirSync(directory);
  const own = { ...setting, ...change };
  const rows = [{ sequence, top: topTokens(logprobs, sequence.responseIds, own.top_k) }];
  const shard = await writeShard(directory, 'shard-00000.safetensors', rows, own);
  await writeIndex(directory, { ...own, shards: [shard] });
  return directory;
}

describe('what is kept of a distribution', () => {
  it('the two likeliest, the gold one, and the mass of all others: by hand', () => {
    const top = topTokens(logprobs, sequence.responseIds, 2);
    expect(Array.from(top.ids)).toEqual([0, 1, 0, 1]);
    expect(Array.from(top.logprobs, (x) => Number(Math.exp(x).toFixed(6)))).toEqual([0.5, 0.25, 0.5, 0.375]);
    expect(Array.from(top.gold, (x) => Number(Math.exp(x).toFixed(6)))).toEqual([0.5, 0.0625]);
    // First 0.125 twice; second only token 3, for token 2 is the gold one.
    expect(Array.from(top.tail, (x) => Number(x.toFixed(6)))).toEqual([0.25, 0.0625]);
  });

  it('is what sorting gives, ties by id', () => {
    const rng = stream(1, 'top');
    const row = Float32Array.from({ length: 200 }, () => -Math.floor(20 * rng()));
    const sorted = Array.from(row, (x, v) => ({ x, v })).sort((a, b) => b.x - a.x || a.v - b.v);
    for (const k of [1, 7, 200])
      expect(Array.from(topTokens(row, [0], k).ids)).toEqual(sorted.slice(0, k).map(({ v }) => v));
  });
});

describe('a cache in files', () => {
  it('literal numbers: two bytes an id and a log-probability, four the gold one and the tail', async () => {
    const directory = await write('literal');
    const file = await SafetensorsFile.open(join(directory, 'shard-00000.safetensors'));
    const bytes = readFileSync(join(directory, 'shard-00000.safetensors'));
    const at = (name: string): number[] => {
      const { offset, bytes: size } = file.entries.get(name)!;
      return [...bytes.subarray(offset, offset + size)];
    };
    await file.close();
    expect(at('ids')).toEqual([0, 0, 1, 0, 0, 0, 1, 0]);
    expect(at('offsets')).toEqual([0, 0, 0, 0, 2, 0, 0, 0]);
    // f16: ln ½ = −0.6931 is −1.386328125·2⁻¹ (0xb98c), ln ¼ twice that (0xbd8c), ln ⅜ = −0.98083 (0xbbd9).
    expect(at('logprobs')).toEqual([0x8c, 0xb9, 0x8c, 0xbd, 0x8c, 0xb9, 0xd9, 0xbb]);
    expect(at('tail')).toEqual([0, 0, 0x80, 0x3e, 0, 0, 0x80, 0x3d]); // 0.25, 0.0625
    expect(at('keys')).toEqual([...sequenceKey(sequence)]);
    // hashlib.sha256(struct.pack('<5i', 2, 3, 1, 0, 2)) of Python: the prompt's length and all ids.
    expect(sequenceKey(sequence).toString('hex')).toBe('90011495942df618534d492d7731171c');
  });

  it('gives back the named tokens, scaled to 1 less the tail; −∞ for the others', async () => {
    const cached = await CachedTeacher.open(await write('back'));
    const [row] = cached.distributions([sequence]);
    const [tails] = cached.cache.tails([sequence]);
    expect(Array.from(tails!)).toEqual([0.25, 0.0625]);
    const back = Array.from(row!, Math.exp);
    [0.5, 0.25, 0, 0, 0.5, 0.375, 0.0625, 0].forEach((x, i) => {
      expect(Math.abs(back[i]! - x)).toBeLessThan(1e-4);
      if (x === 0) expect(row![i]).toBe(Number.NEGATIVE_INFINITY);
    });
    for (const t of [0, 1]) {
      const named = back.slice(4 * t, 4 * t + 4).reduce((sum, x) => sum + x, 0);
      expect(named + tails![t]!).toBeCloseTo(1, 6);
    }
    expect(Math.exp(cached.logprobs([sequence])[0]![1]!)).toBeCloseTo(0.0625, 4);
    expect(() => cached.distributions([{ promptIds: [3], responseIds: [1, 0] }])).toThrow(/not in the cache/);
    cached.close();
  });

  it('f16 moves no probability by more than 2⁻¹¹/e before the scaling, f32 none', async () => {
    const directory = join(place.path, 'rounding');
    mkdirSync(directory);
    const rng = stream(2, 'rounding');
    const vocab = 300;
    const x = Array.from({ length: vocab }, () => 12 * rng());
    const norm = Math.log(x.reduce((sum, value) => sum + Math.exp(value), 0));
    const row = Float32Array.from(x, (value) => value - norm);
    const one = { promptIds: [1], responseIds: [5] };
    for (const [dtype, bound] of [
      ['f16', 2 ** -11 / Math.E + 1e-4],
      ['f32', 1e-6],
    ] as const) {
      const own = { ...setting, dtype, vocab, top_k: 50 };
      const shard = await writeShard(
        directory,
        'shard-00000.safetensors',
        [{ sequence: one, top: topTokens(row, [5], 50) }],
        own,
      );
      await writeIndex(directory, { ...own, shards: [shard] });
      const cached = await CachedTeacher.open(directory);
      const back = cached.distributions([one])[0]!;
      cached.close();
      const errors = Array.from(back, (value, v) =>
        value > Number.NEGATIVE_INFINITY ? Math.abs(Math.exp(value) - Math.exp(row[v]!)) : 0,
      );
      expect(Math.max(...errors)).toBeLessThan(bound);
      expect(shard.bytes / shard.tokens).toBeGreaterThan(dtype === 'f16' ? 208 : 308);
    }
  });
});
