import { existsSync, mkdirSync, renameSync, statSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { RunError } from '../../errors.js';
import { probeAddon } from './install.js';
import {
  ADDON_PATH,
  type EnginePackage,
  LIBRARY_PATH,
  tensorflowLibraries,
  visibleNodeModules,
} from './paths.js';
import { run } from './process.js';
import {
  type CacheEntry,
  copyWritable,
  folderBytes,
  LIBRARY_FOLDER,
  listFiles,
  PREBUILT_ADDON,
  publish,
  stagingFolder,
} from './store.js';

/**
 * The package's own download: its install script fetches libtensorflow and a prebuilt addon.
 *
 * The script deletes `deps/` first and edits package.json while it works, so it runs in a copy of the package:
 * whatever becomes of it, the installed package stays as it is.
 */
export async function provisionFromOfficial(
  pkg: EnginePackage,
  work: { cacheDir: string; say: (line: string) => void; signal?: AbortSignal | undefined },
): Promise<CacheEntry> {
  await assertReachable();
  const staging = stagingFolder(work.cacheDir);
  const copy = join(staging, 'package');
  mkdirSync(copy);
  for (const part of ['package.json', 'binding.gyp', 'binding', 'scripts']) {
    const from = join(pkg.dir, part);
    if (!existsSync(from)) continue;
    if (statSync(from).isFile()) copyWritable(from, join(copy, part));
    else for (const file of listFiles(from)) copyWritable(join(from, file), join(copy, part, file));
  }
  work.say(`running the install script of ${pkg.name} (official download)`);
  const modules = visibleNodeModules(pkg.dir);
  const done = await run(process.execPath, ['scripts/install.js', 'cpu', 'download'], {
    cwd: copy,
    env: {
      ...process.env,
      NODE_PATH: modules.join(delimiter),
      PATH: [...modules.map((dir) => join(dir, '.bin')), process.env.PATH].join(delimiter),
    },
    timeoutMs: 15 * 60_000,
    stallMs: 60_000,
    progress: () => folderBytes(staging),
    signal: work.signal,
  });
  const libraries = tensorflowLibraries(join(copy, LIBRARY_PATH));
  if (done.status !== 0 || libraries.length === 0 || !existsSync(join(copy, ADDON_PATH))) {
    const said = `${done.stderr}\n${done.stdout}`
      .split('\n')
      .find((line) => /error|failed/i.test(line))
      ?.trim();
    throw new RunError(
      `the install script failed: ${(done.trouble ?? said ?? `status ${done.status}`).slice(0, 200)}`,
    );
  }
  const { version } = await probeAddon(join(copy, ADDON_PATH));
  const out = join(staging, 'out');
  mkdirSync(join(out, 'prebuilt'), { recursive: true });
  renameSync(join(copy, LIBRARY_PATH), join(out, LIBRARY_FOLDER));
  renameSync(join(copy, ADDON_PATH), join(out, PREBUILT_ADDON));
  return publish(work.cacheDir, out, { version, variant: 'cpu', source: 'official' });
}

/**
 * A short look whether the host answers at all: the script itself would wait for minutes behind a firewall that drops
 * packets. Behind a proxy, which the script uses and `fetch` does not, the stall limit has to do.
 */
async function assertReachable(): Promise<void> {
  const env = process.env;
  if (env.HTTPS_PROXY || env.https_proxy || env.HTTP_PROXY || env.http_proxy) return;
  const storage = env.TFJS_NODE_CDN_STORAGE || env.npm_config_TFJS_NODE_CDN_STORAGE || env.CDN_STORAGE;
  const base =
    env.TFJS_NODE_BASE_URI ||
    env.npm_config_TFJS_NODE_BASE_URI ||
    storage ||
    'https://storage.googleapis.com/';
  const limit = AbortSignal.timeout(4_000);
  try {
    const { origin } = new URL(base);
    await fetch(origin, { method: 'HEAD', redirect: 'manual', signal: limit });
  } catch (error) {
    const { cause, message } = error as Error & { cause?: { code?: string } };
    throw new RunError(
      `${base} is not reachable from here (${limit.aborted ? 'no answer in 4 s' : (cause?.code ?? message)})`,
    );
  }
}
