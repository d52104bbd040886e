import { readdir } from 'node:fs/promises';
import { UsageError } from '../errors.js';
import { exists } from '../models/files.js';
import {
  type CacheIndex,
  type CacheSetting,
  indexFile,
  readIndex,
  writeIndex,
} from '../scoring/cache/cacheIndex.js';
import { checkShard } from '../scoring/cache/shard.js';
import { removeLeftovers } from './atomic.js';

/** @throws UsageError where a directory holds anything but a cache */
export async function refuseOther(out: string): Promise<void> {
  const names = await readdir(out).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return [];
    throw new UsageError(`${out}: cannot be used for a cache (${error.code}); give --out another directory`);
  });
  const other = names.find(
    (name) => !name.startsWith('.') && !/^(index\.json|shard-\d{5}\.safetensors)$/.test(name),
  );
  if (other !== undefined)
    throw new UsageError(`${out}: holds ${other}, which is no part of a cache; give --out another directory`);
}

/**
 * The index of a new cache, or of the one that is gone on with: its shards as far as they are whole.
 *
 * @throws UsageError naming what differs where the directory holds the cache of something else
 */
export async function beginCache(
  out: string,
  setting: CacheSetting,
  log: (line: string) => void,
): Promise<CacheIndex> {
  await removeLeftovers(out);
  if (!(await exists(indexFile(out)))) {
    const index = { ...setting, shards: [] };
    await writeIndex(out, index);
    return index;
  }
  const { shards, ...before } = await readIndex(out);
  for (const key of Object.keys(setting) as (keyof CacheSetting)[]) {
    const [was, is] = [before[key], setting[key]].map((x) => JSON.stringify(x));
    if (was !== is)
      throw new UsageError(
        `${out}: holds another cache (${key} is ${brief(was!)} there, ${brief(is!)} here); give --out another directory, or ask as before`,
      );
  }
  // A shard that is lost or damaged is made again, and so are those after it: they follow one another.
  const whole = [];
  for (const entry of shards) {
    const damage = await checkShard(out, entry).then(
      () => undefined,
      (error: Error) => error.message,
    );
    if (damage !== undefined) {
      log(`note: ${damage}`);
      break;
    }
    whole.push(entry);
  }
  return { ...setting, shards: whole };
}

const brief = (json: string): string => (json.length > 80 ? `${json.slice(0, 80)}…` : json);
