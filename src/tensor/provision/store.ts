import { createHash, randomBytes } from 'node:crypto';
import {
  chmodSync,
  constants,
  copyFileSync,
  createReadStream,
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { z } from 'zod';
import { syncDirectory, syncTree } from '../../durable.js';

/**
 * The per-user cache: one folder per TensorFlow library, `libtensorflow-<version>-cpu`, and those of CUDA (engines/cuda).
 *
 * A folder counts only with a manifest that lists size and sha256 of every file in it. It is filled under
 * another name and renamed when whole, so that a killed download is never taken for a good one. Inside TensorFlow's:
 * `tensorflow/` (the shared libraries, and `include/` for compiling the addon), `prebuilt/` (an addon that came along),
 * and `addons/` (addons compiled here, not listed: see addon.ts).
 */
export type Source = 'official' | 'wheel' | 'path';

const sha256 = z.string().regex(/^[0-9a-f]{64}$/);
const inside = z.string().refine((path) => !/^([/\\]|[A-Za-z]:)|(^|[/\\])\.\.([/\\]|$)/.test(path));
const manifestSchema = z.object({
  format: z.literal(1),
  version: z.string().regex(/^[0-9A-Za-z][0-9A-Za-z.+-]*$/),
  variant: z.enum(['cpu', 'cuda']),
  source: z.enum(['official', 'wheel', 'path']),
  platform: z.string(),
  files: z.record(inside, z.object({ sha256, bytes: z.number().int().nonnegative() })),
});
export type Manifest = z.infer<typeof manifestSchema>;

export interface CacheEntry {
  dir: string;
  manifest: Manifest;
}

export const platformName = `${process.platform}-${process.arch}`;
export const LIBRARY_FOLDER = 'tensorflow';
export const PREBUILT_ADDON = 'prebuilt/tfjs_binding.node';
/** What the folders of CUDA's libraries are called, in a folder of their own (engines/cuda/fetchLibrary.ts). */
export const LIBRARY_ENTRY = /^lib(nvrtc|cublasLt)-/;
const MANIFEST = 'manifest.json';
const UNFINISHED = /^(tmp|trash)-/;

/** A new empty folder of the cache, to be filled and then published. */
export function stagingFolder(cacheDir: string): string {
  const dir = join(cacheDir, `tmp-${process.pid}-${randomBytes(4).toString('hex')}`);
  mkdirSync(dir, { recursive: true });
  return dir;
}

/** Removes what killed set-ups left behind. Only while the cache's lock is held. */
export function removeUnfinished(cacheDir: string): void {
  for (const name of existsSync(cacheDir) ? readdirSync(cacheDir) : []) {
    if (UNFINISHED.test(name)) rmSync(join(cacheDir, name), { recursive: true, force: true });
  }
}

/** Writes the manifest into a filled folder and gives it its final name in the cache, replacing what had that name. */
export async function publish(
  cacheDir: string,
  filled: string,
  facts: Pick<Manifest, 'version' | 'variant' | 'source'>,
  known: Record<string, string> = {},
  name = `libtensorflow-${facts.version}-cpu`,
): Promise<CacheEntry> {
  const files: Manifest['files'] = {};
  for (const path of listFiles(filled)) {
    files[path] = {
      sha256: known[path] ?? (await sha256OfFile(join(filled, path))),
      bytes: lstatSync(join(filled, path)).size,
    };
  }
  const manifest = manifestSchema.parse({ format: 1, ...facts, platform: platformName, files });
  return putInPlace(cacheDir, filled, manifest, name);
}

/** The same for a folder whose manifest is known. */
export function putInPlace(
  cacheDir: string,
  filled: string,
  manifest: Manifest,
  name = `libtensorflow-${manifest.version}-cpu`,
): CacheEntry {
  writeFileSync(join(filled, MANIFEST), `${JSON.stringify(manifest, null, 1)}\n`);
  syncTree(filled);
  mkdirSync(cacheDir, { recursive: true });
  const dir = join(cacheDir, name);
  if (existsSync(dir)) {
    const trash = join(cacheDir, `trash-${process.pid}-${randomBytes(4).toString('hex')}`);
    renameSync(dir, trash);
    renameSync(filled, dir);
    rmSync(trash, { recursive: true, force: true });
  } else {
    renameSync(filled, dir);
  }
  syncDirectory(cacheDir);
  return { dir, manifest };
}

/** A cached library whose manifest is readable and whose files have the right sizes, else why not. */
export function openEntry(dir: string): CacheEntry | string {
  let manifest: Manifest;
  try {
    manifest = manifestSchema.parse(JSON.parse(readFileSync(join(dir, MANIFEST), 'utf8')));
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'ENOENT' ? 'has no manifest' : 'has a damaged manifest';
  }
  if (manifest.platform !== platformName) return `is for ${manifest.platform}`;
  for (const [path, { bytes }] of Object.entries(manifest.files)) {
    const found = lstatSync(join(dir, path), { throwIfNoEntry: false });
    if (!found?.isFile()) return `lacks ${path}`;
    if (found.size !== bytes) return `holds ${found.size} of the ${bytes} bytes of ${path}`;
  }
  return { dir, manifest };
}

/** Reads every file again (about a second) and compares; undefined when all is as published, else what is wrong. */
export async function verifyEntry({ dir, manifest }: CacheEntry): Promise<string | undefined> {
  for (const [path, { sha256 }] of Object.entries(manifest.files)) {
    if ((await sha256OfFile(join(dir, path))) !== sha256)
      return `${path} has another checksum than when it was stored`;
  }
  return undefined;
}

/** Every library folder of a cache, good or not, the newest version first. */
export function listEntries(
  cacheDir: string,
  named = /^libtensorflow-.+-cpu$/,
): { dir: string; entry: CacheEntry | string }[] {
  if (!existsSync(cacheDir)) return [];
  return readdirSync(cacheDir)
    .filter((name) => named.test(name))
    .sort((a, b) => b.localeCompare(a, 'en', { numeric: true }))
    .map((name) => ({ dir: join(cacheDir, name), entry: openEntry(join(cacheDir, name)) }));
}

export async function sha256OfFile(path: string): Promise<string> {
  const hash = createHash('sha256');
  for await (const chunk of createReadStream(path, { highWaterMark: 2 ** 22 })) hash.update(chunk as Buffer);
  return hash.digest('hex');
}

/** Copies a file, sharing its blocks where the file system can; what comes of a read-only source can be written all the same. */
export function copyWritable(from: string, to: string): void {
  mkdirSync(dirname(to), { recursive: true });
  copyFileSync(from, to, constants.COPYFILE_FICLONE);
  chmodSync(to, statSync(to).mode | 0o600);
}

/** Regular files below a folder, as relative paths with forward slashes, sorted. */
export function listFiles(dir: string): string[] {
  return readdirSync(dir, { recursive: true, withFileTypes: true })
    .filter((item) => item.isFile())
    .map((item) =>
      join(item.parentPath ?? item.path, item.name)
        .slice(dir.length + 1)
        .replaceAll('\\', '/'),
    )
    .sort();
}

/** Bytes below a folder; 0 while it is not there. */
export function folderBytes(dir: string): number {
  try {
    return listFiles(dir).reduce(
      (sum, path) => sum + (lstatSync(join(dir, path), { throwIfNoEntry: false })?.size ?? 0),
      0,
    );
  } catch {
    return 0; // files come and go while a download runs
  }
}
