import { createHash } from 'node:crypto';
import { createReadStream, existsSync } from 'node:fs';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { UsageError } from '../errors.js';
import { placesOf } from '../models/adapter.js';
import { indexFile } from '../scoring/cache/cacheIndex.js';
import type { TrainConfig } from '../training/config.js';
import { cacheOf } from '../training/configParts.js';
import { writeFileAtomic } from './atomic.js';
import { runPaths } from './runDirectory.js';

/** SHA-256 of what a run reads, by the field that names it. */
export type Digests = Record<string, string>;

/**
 * Writes down what a new run reads; of a resumed one, looks whether it is still the same. A run that goes on with other rows or
 * other weights is not the run that it says it is.
 *
 * @param changed goes on all the same, and says so @param digests where they are known already
 * @throws UsageError naming the fields whose files were replaced
 */
export async function checkInputs(
  config: TrainConfig,
  out: string,
  {
    resume,
    changed,
    digests,
    log,
  }: { resume: boolean; changed: boolean; digests?: Digests | undefined; log: (line: string) => void },
): Promise<void> {
  const path = runPaths(out).inputs;
  const now = digests ?? (await digestsOf(config));
  const before = resume ? await readDigests(path) : undefined;
  const differing = Object.keys({ ...before, ...now }).filter(
    (field) => before && before[field] !== now[field],
  );
  if (differing.length > 0) {
    const fields = differing.join(', ');
    if (!changed)
      throw new UsageError(
        `${out}: ${fields} ${differing.length === 1 ? 'is' : 'are'} not what the run began with; put the old files back, or add --changed-inputs to go on with the new ones`,
      );
    log(`note: ${fields} changed since the run began; it will not end with the same bytes`);
  }
  await writeFileAtomic(path, `${JSON.stringify(now, null, 2)}\n`);
}

async function readDigests(path: string): Promise<Digests | undefined> {
  if (!existsSync(path)) return undefined; // a run begun before digests were kept
  try {
    return JSON.parse(await readFile(path, 'utf8')) as Digests;
  } catch {
    throw new UsageError(`${path}: is not JSON; delete it, and the run goes on without this check`);
  }
}

/** SHA-256 of the files that a configuration names, by its fields. */
export async function digestsOf({
  data,
  student,
  teacher,
  pretrain,
  rewards = [],
}: TrainConfig): Promise<Digests> {
  // The index of a cache holds the digests of all its shards.
  const index = (cache: string | undefined): string | undefined => cache && indexFile(cache);
  const places: [field: string, path: unknown][] = [
    ['data.train', data.train],
    ['data.valid', data.valid],
    ['data.corpus', data.corpus],
    ['student', student],
    ...(Array.isArray(teacher) ? teacher : [teacher]).map((path, i): [string, unknown] => [
      Array.isArray(teacher) ? `teacher[${i}]` : 'teacher',
      path,
    ]),
    ['teacher.cache', index(cacheOf(teacher))],
    ['pretrain.teacher_cache', index(pretrain.teacher_cache)],
    ...rewards.map(({ module }, i): [string, unknown] => [`rewards[${i}].module`, module]),
  ];
  const found: Digests = {};
  for (const [field, path] of places) {
    if (typeof path === 'string' && existsSync(path)) found[field] = await digest(path);
  }
  return found;
}

/** Of a file, or of a model directory: its shape, weights and tokenizer; of an adapter also that of its base. */
export async function digest(path: string): Promise<string> {
  const { base, adapter } = await placesOf(path, {});
  return adapter === undefined ? ownDigest(path) : `${await ownDigest(adapter)}+${await ownDigest(base)}`;
}

async function ownDigest(path: string): Promise<string> {
  const names = await readdir(path).catch(() => undefined);
  const read = names
    ? names
        .filter((name) => /\.(json|safetensors|jinja)$/.test(name))
        .sort()
        .map((name) => join(path, name))
    : [path];
  const hash = createHash('sha256');
  for (const file of read) {
    if (names) hash.update(`${file.slice(path.length)}\0`);
    for await (const part of createReadStream(file, { highWaterMark: 1 << 20 })) hash.update(part as Buffer);
  }
  return hash.digest('hex');
}
