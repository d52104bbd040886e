import { existsSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { RunError, UsageError } from '../../errors.js';
import { addonFor, compilerProblem } from './addon.js';
import { isCarried, packEngine, provisionFromCarried } from './carry.js';
import { provisionFromDirectory } from './directory.js';
import { type EngineState, inspectEngine, placeEngine } from './install.js';
import { withLock } from './lock.js';
import { provisionFromOfficial } from './official.js';
import {
  defaultCacheDir,
  type EnginePackage,
  enginePackageNames,
  installedEnginePackages,
  setupCommand,
} from './paths.js';
import {
  type CacheEntry,
  listEntries,
  openEntry,
  removeUnfinished,
  type Source,
  stagingFolder,
  verifyEntry,
} from './store.js';
import { isCurrentSeries, provisionFromPip, provisionFromWheelFile } from './wheel.js';

export interface SetupOptions {
  /** `official`, `wheel`, or a path (an archive of `packReady`, a wheel, or a folder with the libraries); by default the first that works. */
  from?: string | undefined;
  /** The native package to set up; by default the one that is installed beside this project. */
  packageDir?: string | undefined;
  cacheDir?: string | undefined;
  say?: ((line: string) => void) | undefined;
  signal?: AbortSignal | undefined;
}

export interface SetupResult {
  /** False when there was nothing to do. */
  changed: boolean;
  engine: EngineState & { state: 'ready' };
  seconds: number;
}

/**
 * Provisions the native engine: library into the per-user cache, links and addon into the npm package.
 * Nothing is done when it is ready already. Where nothing works the package is left as it was.
 *
 * @throws UsageError for a path that is not what is expected
 * @throws RunError with one line that names each way tried and what was missing
 */
export async function setupEngine(options: SetupOptions = {}): Promise<SetupResult> {
  const started = performance.now();
  const { cacheDir = defaultCacheDir(), say = () => {}, signal } = options;
  const pkg = locatePackage(options.packageDir);
  if (isPath(options.from) && !existsSync(options.from)) {
    throw new UsageError(
      `--from ${options.from}: no such file or directory; expected official, wheel, or the path of an archive of setup --pack, a wheel or a folder`,
    );
  }
  const result = (changed: boolean, engine: EngineState & { state: 'ready' }): SetupResult => ({
    changed,
    engine,
    seconds: (performance.now() - started) / 1000,
  });
  const before = await inspectEngine(pkg, cacheDir);
  if (satisfies(before, options)) return result(false, before);
  if (before.state === 'damaged') say(`the engine is damaged (${before.detail}); setting it up again`);
  return withLock(
    join(cacheDir, 'setup.lock'),
    say,
    async () => {
      // Another process may have done it while this one waited.
      const now = await inspectEngine(pkg, cacheDir);
      if (satisfies(now, options)) return result(false, now);
      removeUnfinished(cacheDir);
      try {
        const work = { cacheDir, say, signal };
        await place(pkg, options, work);
      } finally {
        removeUnfinished(cacheDir);
      }
      const after = await inspectEngine(pkg, cacheDir);
      if (after.state !== 'ready') throw new RunError(`the engine is still not ready: ${after.detail}`);
      return result(true, after);
    },
    signal,
  );
}

/**
 * For commands that want the engine but can do without: sets it up when it is missing, never throws. Any failure is
 * one line and the wasm backend goes on. `MINILLM_SKIP_SETUP=1` leaves everything as it is.
 *
 * @param options.limitMs gives up after this long (a test run must end)
 * @returns whether the engine is ready
 */
export async function ensureEngine(options: SetupOptions & { limitMs?: number } = {}): Promise<boolean> {
  const { say = () => {}, limitMs } = options;
  try {
    const cacheDir = options.cacheDir ?? defaultCacheDir();
    const pkg = locatePackage(options.packageDir);
    const before = await inspectEngine(pkg, cacheDir);
    if (before.state === 'ready') return true;
    if (process.env.MINILLM_SKIP_SETUP === '1') return false;
    say(
      `native engine: ${before.detail}; setting it up (once per machine; MINILLM_SKIP_SETUP=1 goes without)`,
    );
    const signal = limitMs === undefined ? options.signal : AbortSignal.timeout(limitMs);
    const { engine, seconds } = await setupEngine({ ...options, signal });
    say(`native engine: ${engine.detail}, ready after ${seconds.toFixed(1)} s`);
    return true;
  } catch (error) {
    say(`native engine: ${(error as Error).message.split('\n')[0]}; going on with wasm`);
    return false;
  }
}

/**
 * Writes the engine that is set up as one archive, for `from` on a machine without a network.
 *
 * @throws RunError where the package's own install script made it: the cache holds nothing of it then
 */
export async function packReady(file: string, engine: EngineState & { state: 'ready' }): Promise<void> {
  const entry = engine.entry === undefined ? 'it is not of the cache' : openEntry(engine.entry);
  if (typeof entry === 'string')
    throw new RunError(
      `--pack ${file}: ${engine.detail}: ${entry}; set up with --from official or wheel first`,
    );
  await packEngine(entry, file);
}

type Ready = EngineState & { state: 'ready' };

function satisfies(engine: EngineState, { from }: SetupOptions): engine is Ready {
  if (engine.state !== 'ready') return false;
  if (from === undefined) return true;
  if (from === 'official') return engine.source === 'official' || engine.source === 'own install script';
  // A path is read again: what lies there may have changed.
  return from === 'wheel' && engine.source === 'wheel';
}

function locatePackage(packageDir: string | undefined): EnginePackage {
  if (packageDir !== undefined) return { name: enginePackageNames[0], dir: packageDir };
  const pkg = installedEnginePackages()[0];
  if (pkg) return pkg;
  throw new RunError(
    `${enginePackageNames[0]} is not installed (npm install --ignore-scripts ${enginePackageNames[0]})`,
  );
}

interface Work {
  cacheDir: string;
  say: (line: string) => void;
  signal?: AbortSignal | undefined;
}

/** Goes through the ways in order; the first whose library also loads is put into the package. */
async function place(pkg: EnginePackage, options: SetupOptions, work: Work): Promise<void> {
  const failures: string[] = [];
  const attempt = async (name: string, provide: () => Promise<CacheEntry>): Promise<boolean> => {
    try {
      if (work.signal?.aborted) throw new RunError('ran out of time');
      const entry = await provide();
      const addon = await addonFor(pkg, entry, work);
      await placeEngine(pkg, entry, addon, stagingFolder(work.cacheDir));
      return true;
    } catch (error) {
      if (error instanceof UsageError && isPath(options.from)) throw error;
      failures.push(`${name}: ${(error as Error).message.split('\n')[0]}`);
      work.say(failures.at(-1)!);
      return false;
    }
  };
  let ways = waysFor(options.from);
  for (const entry of await soundEntries(work, options.from)) {
    if (await attempt('cache', async () => entry)) {
      work.say(`used the library in ${entry.dir}`);
      return;
    }
    // The library is sound, so that fetching it again would end in the same way.
    ways = ways.filter((way) => way !== entry.manifest.source);
  }
  for (const way of ways) {
    const name = way === 'path' ? options.from! : way;
    if (await attempt(name, () => provide[way](pkg, options, work))) return;
  }
  throw new RunError(
    `the native engine could not be set up: ${failures.join('; ')}. The wasm backend works without it; "${setupCommand}" tries again`,
  );
}

function waysFor(from: string | undefined): Source[] {
  if (from === undefined) return ['official', 'wheel'];
  return isPath(from) ? ['path'] : [from as Source];
}

function isPath(from: string | undefined): from is string {
  return from !== undefined && from !== 'official' && from !== 'wheel';
}

const provide: Record<
  Source,
  (pkg: EnginePackage, options: SetupOptions, work: Work) => Promise<CacheEntry>
> = {
  official: (pkg, _options, work) => provisionFromOfficial(pkg, work),
  wheel: async (_pkg, _options, work) => {
    assertWheelPlatform();
    // Before a quarter of a gigabyte is fetched for nothing.
    const problem = compilerProblem();
    if (problem) throw new RunError(problem);
    return provisionFromPip(work);
  },
  path: async (_pkg, options, work) => {
    const path = options.from!;
    if (isCarried(path)) return provisionFromCarried(path, work.cacheDir);
    assertWheelPlatform();
    if (statSync(path).isDirectory()) return provisionFromDirectory(path, work.cacheDir);
    return provisionFromWheelFile(path, work);
  },
};

function assertWheelPlatform(): void {
  if (process.platform !== 'linux' || (process.arch !== 'x64' && process.arch !== 'arm64')) {
    throw new RunError(
      `on ${process.platform} ${process.arch} only the official download works (--from official)`,
    );
  }
  Object.assign(process.report, { excludeNetwork: true }); // else it looks up host names (Node >= 20.13)
  const { header } = process.report.getReport() as { header?: { glibcVersionRuntime?: string } };
  const glibc = /^2\.(\d+)/.exec(header?.glibcVersionRuntime ?? '');
  if (!glibc || Number(glibc[1]) < 27) {
    throw new RunError(
      `TensorFlow's wheel needs glibc 2.27 or newer, this system has ${header?.glibcVersionRuntime ?? 'another C library'}`,
    );
  }
}

/** Cached libraries that can serve, each read whole and compared with its checksums; spoilt ones are removed. */
async function soundEntries(work: Work, from: string | undefined): Promise<CacheEntry[]> {
  if (isPath(from)) return [];
  const sound: CacheEntry[] = [];
  for (const { dir, entry } of listEntries(work.cacheDir)) {
    if (typeof entry === 'string') {
      work.say(`${dir} ${entry}; it is not used`);
      continue;
    }
    const { manifest } = entry;
    if (from !== undefined && manifest.source !== from) continue;
    if (manifest.source === 'wheel' && !isCurrentSeries(manifest.version)) continue;
    const damage = await verifyEntry(entry);
    if (damage === undefined) {
      sound.push(entry);
      break;
    }
    work.say(`${dir} is damaged (${damage}); removing it`);
    rmSync(dir, { recursive: true, force: true });
  }
  return sound;
}
