import { copyFileSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { loadModel } from '../../../../src/models/checkpoint.js';
import { familyNames } from '../../../../src/models/families.js';
import type { Rng } from '../../../../src/random/streams.js';
import { integer } from '../../../../src/random/streams.js';
import { scoreTokens } from '../../../../src/scoring/score.js';
import { disposeParams } from '../../../../src/tensor/params.js';
import { OUTSIDE, pick } from '../hostile.js';
import { type Mutant, mutateBytes, mutateJson, mutateTree } from '../mutate.js';
import { filesOf, type Target } from '../target.js';

/** Header and data apart: a header that is changed whole, with or without its length told right. */
export function mutateSafetensors(bytes: Buffer, rng: Rng): Mutant {
  const roll = rng();
  if (roll < 0.3) return mutateBytes(bytes, rng);
  const size = Number(bytes.readBigUInt64LE(0));
  const data = bytes.subarray(8 + size);
  if (roll < 0.4) {
    const damaged = Buffer.from(bytes);
    const length = pick(rng, [
      0n,
      1n,
      BigInt(size - 1),
      BigInt(size + 1),
      BigInt(bytes.length),
      100_000_000n,
      100_000_001n,
      1n << 40n,
      (1n << 64n) - 1n,
    ]);
    damaged.writeBigUInt64LE(length, 0);
    return { bytes: damaged, how: `header length ${length}` };
  }
  if (roll < 0.5) {
    const damaged = Buffer.from(bytes);
    const value = pick(rng, [
      Number.NaN,
      Number.POSITIVE_INFINITY,
      Number.NEGATIVE_INFINITY,
      3e38,
      -3e38,
      1e-45,
    ]);
    const at = 8 + size + 4 * integer(rng, data.length / 4);
    damaged.writeFloatLE(value, at);
    return { bytes: damaged, how: `a weight is ${value}` };
  }
  const header = JSON.parse(bytes.toString('utf8', 8, 8 + size).trim()) as Record<
    string,
    { dtype: string; shape: number[]; data_offsets: number[] }
  >;
  if (roll < 0.7) {
    const names = Object.keys(header).filter((name) => name !== '__metadata__');
    const [one, other] = [header[pick(rng, names)]!, header[pick(rng, names)]!];
    const how = pick(rng, Object.keys(headerChanges));
    headerChanges[how]!(one, other, rng);
    return { bytes: safetensors(JSON.stringify(header), data), how };
  }
  const { text, how } = mutateTree(header, rng);
  return { bytes: safetensors(text, data), how };
}

type Entry = { dtype: string; shape: number[]; data_offsets: number[] };

/** Headers that are well formed and say what cannot be. */
const headerChanges: Record<string, (one: Entry, other: Entry, rng: Rng) => void> = {
  'ranges overlap': (one, other) => {
    one.data_offsets = [...other.data_offsets];
  },
  'ranges swapped': (one, other) => {
    [one.data_offsets, other.data_offsets] = [other.data_offsets, one.data_offsets];
  },
  'range moved': (one, _, rng) => {
    const by = pick(rng, [-4, 4, 1, -1, 1 << 30]);
    one.data_offsets = one.data_offsets.map((x) => x + by);
  },
  'shape with a factor less': (one) => {
    one.shape = [2 ** 30, ...one.shape.slice(1)];
  },
  'shape whose product is right by overflow': (one) => {
    one.shape = [2 ** 32, 2 ** 32, ...one.shape];
  },
  'shape negative twice': (one) => {
    one.shape = [...one.shape.map((n) => -n)];
  },
  'shape empty': (one) => {
    one.shape = [];
  },
  'shape with 0': (one) => {
    one.shape = [0, ...one.shape];
    one.data_offsets = [one.data_offsets[0]!, one.data_offsets[0]!];
  },
  'shape of many ones': (one, _, rng) => {
    one.shape = [...Array<number>(integer(rng, 70)).fill(1), ...one.shape];
  },
  'shape reversed': (one) => {
    one.shape.reverse();
  },
  'half as wide': (one, _, rng) => {
    one.dtype = pick(rng, ['F16', 'BF16', 'F64', 'I64', 'U8', 'F8_E4M3', 'F4', 'x']);
    one.shape = one.dtype.endsWith('16') ? [2 * (one.shape[0] ?? 1), ...one.shape.slice(1)] : one.shape;
  },
};

function safetensors(header: string, data: Buffer): Buffer {
  const text = Buffer.from(header);
  const size = Buffer.alloc(8);
  size.writeBigUInt64LE(BigInt(text.length));
  return Buffer.concat([size, text, data]);
}

/** An index whose shards lie elsewhere. */
function mutateIndex(bytes: Buffer, rng: Rng): Mutant {
  if (rng() < 0.6) return mutateJson(bytes, rng);
  const index = JSON.parse(bytes.toString('utf8')) as { weight_map: Record<string, string> };
  const elsewhere = pick(rng, [
    OUTSIDE,
    `../${OUTSIDE}`,
    `../../${OUTSIDE}`,
    '/etc/passwd',
    'x\0.safetensors',
    '..\\x.safetensors',
    'absent.safetensors',
    'config.json',
    '.safetensors',
    '',
  ]);
  const names = Object.keys(index.weight_map);
  for (const name of rng() < 0.5 ? names : [pick(rng, names)]) index.weight_map[name] = elsewhere;
  return { bytes: Buffer.from(JSON.stringify(index)), how: `shards in ${JSON.stringify(elsewhere)}` };
}

/** Loads as every command does, and reads a few tokens with what came out. */
async function use(directory: string, rng: Rng): Promise<void> {
  const model = await loadModel(directory);
  try {
    if (rng() < 0.3) scoreTokens(model, [Int32Array.from([1, 2, 3, 4].slice(0, model.config.maxPositions))]);
  } finally {
    disposeParams(model.params);
  }
}

const shard = 'model-0000';
export const modelTargets: Target[] = [
  filesOf({
    name: 'model.safetensors',
    weight: 5,
    from: (world) => world.student,
    files: { 'model.safetensors': mutateSafetensors },
    read: use,
  }),
  filesOf({
    name: 'model.safetensors.index.json',
    weight: 2,
    from: (world) => world.sharded,
    files: {
      'model.safetensors.index.json': mutateIndex,
      [`${shard}1-of-00002.safetensors`]: mutateSafetensors,
      [`${shard}2-of-00002.safetensors`]: mutateSafetensors,
    },
    prepare: (directory, world) => copyConfig(world.student, directory),
    async read(directory, rng) {
      await use(directory, rng);
      const index = readFileSync(join(directory, 'model.safetensors.index.json'), 'utf8');
      if (index.includes('secret')) throw new Error('read weights outside of the directory');
    },
  }),
  ...familyNames.map((family) =>
    filesOf({
      name: `config.json of ${family}`,
      weight: 1,
      from: (world) => world.family(family),
      files: { 'config.json': mutateJson },
      read: use,
    }),
  ),
  filesOf({
    name: 'generation_config.json',
    weight: 1,
    from: (world) => world.student,
    files: { 'generation_config.json': mutateJson },
    read: use,
  }),
];

function copyConfig(from: string, to: string): void {
  for (const name of ['config.json', 'generation_config.json'])
    copyFileSync(join(from, name), join(to, name));
}
