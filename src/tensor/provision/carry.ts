import { existsSync, mkdirSync, readdirSync, renameSync, rmSync, statSync } from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import { RunError, UsageError } from '../../errors.js';
import { run, which } from './process.js';
import {
  type CacheEntry,
  copyWritable,
  listFiles,
  openEntry,
  putInPlace,
  stagingFolder,
  verifyEntry,
} from './store.js';

/**
 * An engine for a machine without a network: a library of the cache, with its manifest and compiled addons, as one archive. What
 * comes out of an archive is compared with the manifest before it counts.
 */

/** Whether a path is what `packEngine` writes, or a folder of the cache as it lies there. */
export function isCarried(path: string): boolean {
  return statSync(path).isDirectory() ? entryFolder(path) !== undefined : /\.(tar|tgz|tar\.\w+)$/.test(path);
}

/**
 * Writes a cached library as one archive, compressed as the name says (.tar, .tar.gz, .tgz, ...).
 *
 * @throws RunError when it cannot be written; nothing is left under the name then
 */
export async function packEngine(entry: CacheEntry, file: string): Promise<void> {
  if (!/\.(tar|tgz|tar\.\w+)$/.test(file))
    throw new UsageError(`--pack ${file}: expected a name that ends in .tar, .tar.gz or .tgz`);
  const folder = dirname(resolve(file));
  mkdirSync(folder, { recursive: true });
  // The name keeps its end, which tells tar how to compress.
  const partial = join(folder, `.tmp-${process.pid}-${basename(file)}`);
  try {
    await tar('-c', '-a', '-f', partial, '-C', dirname(entry.dir), basename(entry.dir));
    renameSync(partial, file);
  } finally {
    rmSync(partial, { force: true });
  }
}

/**
 * Takes a library that came from another machine's cache into this one's.
 *
 * @throws UsageError for another platform, for damage, and for libraries of CUDA
 */
export async function provisionFromCarried(path: string, cacheDir: string): Promise<CacheEntry> {
  const staging = stagingFolder(cacheDir);
  const out = join(staging, 'out');
  let from = path;
  if (!statSync(path).isDirectory()) {
    mkdirSync(join(staging, 'unpacked'));
    await tar('-x', '-f', resolve(path), '-C', join(staging, 'unpacked'));
    from = join(staging, 'unpacked');
  }
  const folder = entryFolder(from);
  if (!folder)
    throw new UsageError(`${path}: holds no libtensorflow-…/manifest.json; make it with setup --pack`);
  const entry = openEntry(folder);
  if (typeof entry === 'string') throw new UsageError(`${path}: ${basename(folder)} ${entry}`);
  const damage = await verifyEntry(entry);
  if (damage) throw new UsageError(`${path}: ${damage}; carry it over again`);
  const { manifest } = entry;
  if (manifest.variant !== 'cpu')
    throw new UsageError(`${path}: holds a library of CUDA, not TensorFlow; make it with setup --pack`);
  const addons = join(folder, 'addons');
  const carried = existsSync(addons) ? listFiles(addons).map((file) => `addons/${file}`) : [];
  for (const file of [...Object.keys(manifest.files), ...carried])
    copyWritable(join(folder, file), join(out, file));
  return putInPlace(cacheDir, out, manifest);
}

/** The folder with the manifest: the path itself, or the only one of its kind in it. */
function entryFolder(path: string): string | undefined {
  const folders = [path, ...readdirSync(path).map((name) => join(path, name))];
  return folders.find((folder) => existsSync(join(folder, 'manifest.json')));
}

async function tar(...args: string[]): Promise<void> {
  const program = which('tar');
  if (!program) throw new RunError('tar is missing (Debian/Ubuntu: apt-get install tar)');
  const done = await run(program, args, { timeoutMs: 30 * 60_000 });
  if (done.status === 0) return;
  const said = done.stderr.trim().split('\n')[0];
  throw new RunError(`tar: ${(done.trouble ?? (said || `status ${done.status}`)).slice(0, 200)}`);
}
