import {
  copyFileSync,
  existsSync,
  mkdirSync,
  readFileSync,
  readlinkSync,
  realpathSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { z } from 'zod';
import { RunError } from '../../errors.js';
import { addonKey } from './addon.js';
import { ADDON_PATH, type EnginePackage, LIBRARY_PATH, liesWithin, tensorflowLibraries } from './paths.js';
import { run } from './process.js';
import {
  type CacheEntry,
  LIBRARY_FOLDER,
  openEntry,
  PREBUILT_ADDON,
  type Source,
  sha256OfFile,
} from './store.js';

/**
 * The engine inside the npm package: links to the cached libraries in `deps/lib`, the addon in `lib/napi-v8`,
 * and a note of what was put there. Every piece is put in place by renaming, the note last.
 */
const NOTE = join('deps', 'minillm.json');
const noteSchema = z.object({
  entry: z.string(),
  version: z.string(),
  variant: z.literal('cpu'),
  source: z.enum(['official', 'wheel', 'path']),
  addon_sha256: z.string(),
  /** What the addon was compiled from; absent for a prebuilt one. */
  addon_key: z.string().optional(),
  gpu_visible: z.boolean(),
});
type Note = z.infer<typeof noteSchema>;

export type EngineState =
  | {
      state: 'ready';
      detail: string;
      version: string;
      /** `cpu`, which is all that is set up here; not known of what the package's own script made. */
      variant: 'cpu' | undefined;
      source: Source | 'own install script';
      entry?: string;
    }
  | { state: 'absent' | 'damaged'; detail: string };

/** Puts a cached library and its addon into the package, after a trial load beside it. */
export async function placeEngine(
  pkg: EnginePackage,
  entry: CacheEntry,
  addon: string,
  staging: string,
): Promise<void> {
  const { manifest } = entry;
  try {
    // The same layout elsewhere: what does not load there never reaches the package.
    arrange(staging, entry, addon);
    const trial = await probeAddon(join(staging, ADDON_PATH));
    arrange(pkg.dir, entry, addon);
    const note: Note = {
      entry: entry.dir,
      version: trial.version,
      variant: 'cpu',
      source: manifest.source,
      addon_sha256: await sha256OfFile(addon),
      ...(!manifest.files[PREBUILT_ADDON] && { addon_key: addonKey(pkg, entry) }),
      gpu_visible: trial.gpu,
    };
    replace(join(pkg.dir, NOTE), (path) => writeFileSync(path, `${JSON.stringify(note, null, 1)}\n`));
  } catch (error) {
    const { code, path } = error as NodeJS.ErrnoException;
    if (code === 'EACCES' || code === 'EPERM' || code === 'EROFS')
      throw new RunError(`${path ?? pkg.dir}: may not be written (${code})`);
    throw error;
  }
}

function arrange(dir: string, entry: CacheEntry, addon: string): void {
  const from = join(entry.dir, LIBRARY_FOLDER);
  // Windows looks for a DLL beside the addon, and links need a privilege there.
  const windows = process.platform === 'win32';
  for (const name of tensorflowLibraries(from)) {
    const to = join(dir, windows ? dirname(ADDON_PATH) : LIBRARY_PATH, name);
    replace(to, (path) =>
      windows ? copyFileSync(join(from, name), path) : symlinkSync(join(from, name), path),
    );
  }
  replace(join(dir, ADDON_PATH), (path) => copyFileSync(addon, path));
}

/** Makes a file or link under a temporary name and renames it over the old one. */
function replace(path: string, make: (temporary: string) => void): void {
  mkdirSync(dirname(path), { recursive: true });
  const temporary = `${path}.tmp-${process.pid}`;
  rmSync(temporary, { force: true });
  make(temporary);
  renameSync(temporary, path);
}

/** Whether the package's engine is whole, without loading it (a few milliseconds), unless somebody else put it there. */
export async function inspectEngine(pkg: EnginePackage, cacheDir: string): Promise<EngineState> {
  const addon = join(pkg.dir, ADDON_PATH);
  const note = readNote(pkg);
  if (!existsSync(addon)) {
    return note
      ? { state: 'damaged', detail: `${ADDON_PATH} is gone` }
      : { state: 'absent', detail: 'not set up yet' };
  }
  const libraries = join(pkg.dir, LIBRARY_PATH);
  for (const name of tensorflowLibraries(libraries)) {
    const path = join(libraries, name);
    if (!existsSync(path))
      return {
        state: 'damaged',
        detail: `${join(LIBRARY_PATH, name)} points to ${readlinkSync(path)}, which is gone`,
      };
  }
  if (note) {
    const entry = openEntry(note.entry);
    if (typeof entry === 'string') return { state: 'damaged', detail: `${note.entry} ${entry}` };
    if (process.platform !== 'win32') {
      const strayed = tensorflowLibraries(join(entry.dir, LIBRARY_FOLDER)).find(
        (name) => !sameFile(join(libraries, name), join(entry.dir, LIBRARY_FOLDER, name)),
      );
      if (strayed)
        return { state: 'damaged', detail: `${join(LIBRARY_PATH, strayed)} is not the one that was linked` };
    }
    if ((await sha256OfFile(addon)) !== note.addon_sha256)
      return { state: 'damaged', detail: `${ADDON_PATH} is not the one that was put there` };
    if (!entry.manifest.files[PREBUILT_ADDON] && note.addon_key !== addonKey(pkg, entry))
      return { state: 'damaged', detail: `${ADDON_PATH} was compiled from other sources than these` };
    const { version, variant, source } = note;
    return {
      state: 'ready',
      detail: `TensorFlow ${version} (${variant}) from ${note.entry}`,
      version,
      variant,
      source,
      entry: note.entry,
    };
  }
  if (tensorflowLibraries(libraries).some((name) => liesWithin(join(libraries, name), cacheDir))) {
    return { state: 'damaged', detail: 'links into the cache that no set-up made' };
  }
  try {
    const { version } = await probeAddon(addon);
    return {
      state: 'ready',
      detail: `TensorFlow ${version}, installed by the package itself`,
      version,
      variant: undefined,
      source: 'own install script',
    };
  } catch (error) {
    return { state: 'damaged', detail: (error as Error).message };
  }
}

function readNote(pkg: EnginePackage): Note | undefined {
  try {
    return noteSchema.parse(JSON.parse(readFileSync(join(pkg.dir, NOTE), 'utf8')));
  } catch {
    return undefined;
  }
}

function sameFile(a: string, b: string): boolean {
  try {
    return realpathSync(a) === realpathSync(b);
  } catch {
    return false;
  }
}

/**
 * Loads an addon in a process of its own (a library built for another processor ends the process that loads it)
 * and asks it for TensorFlow's version and whether its device list has a GPU.
 *
 * @throws RunError with the loader's own words
 */
export async function probeAddon(addon: string): Promise<{ version: string; gpu: boolean }> {
  const script = `const b = require(process.argv[1]);
process.stdout.write('\\n' + JSON.stringify({ version: String(b.TF_Version), gpu: Boolean(b.isUsingGpuDevice()) }));`;
  const env = { ...process.env, TF_CPP_MIN_LOG_LEVEL: '3' };
  const done = await run(process.execPath, ['-e', script, addon], { env, timeoutMs: 60_000 });
  try {
    if (done.status !== 0) throw new Error();
    return z
      .object({ version: z.string(), gpu: z.boolean() })
      .parse(JSON.parse(done.stdout.trim().split('\n').at(-1)!));
  } catch {
    const said = done.stderr
      .split('\n')
      .find((line) => /^\s*(\w*Error):/.test(line))
      ?.trim();
    throw new RunError(
      `the engine does not load: ${explain(done.trouble ?? said ?? `status ${done.status}`)}`,
    );
  }
}

function explain(why: string): string {
  if (/SIGILL/.test(why))
    return `${why} (this processor lacks instructions that TensorFlow was built for, AVX most likely)`;
  if (/GLIBC|ld-linux/.test(why))
    return `${why} (this system's C library is older than the wheel wants, or is not glibc)`;
  return why;
}
