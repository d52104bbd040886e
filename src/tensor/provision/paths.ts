import { existsSync, readdirSync, realpathSync } from 'node:fs';
import { createRequire } from 'node:module';
import { homedir } from 'node:os';
import { basename, dirname, isAbsolute, join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** Where things lie: the native packages, the per-user cache, and the words that name the set-up command. */

const require = createRequire(import.meta.url);

/** The packages that bring the native backend, in the order in which they are tried. */
export const enginePackageNames = ['@tensorflow/tfjs-node-gpu', '@tensorflow/tfjs-node'] as const;

/** The addon inside such a package: node-pre-gyp asks for Node-API 8 on every Node that this project runs on. */
export const ADDON_PATH = join('lib', 'napi-v8', 'tfjs_binding.node');

/** The TensorFlow shared libraries inside such a package; the addon's run path is `$ORIGIN/../../deps/lib`. */
export const LIBRARY_PATH = join('deps', 'lib');

/** What the user types to provision the engine: a clone has no installed `minillm`, a dependent project has. */
export const setupCommand = fileURLToPath(import.meta.url).endsWith('.ts')
  ? 'npm run -s minillm -- setup'
  : 'npx minillm setup';

export interface EnginePackage {
  name: string;
  dir: string;
}

/** The native packages that are installed beside this one, set up or not. */
export function installedEnginePackages(): EnginePackage[] {
  return enginePackageNames.flatMap((name) => {
    try {
      return [{ name, dir: dirname(require.resolve(`${name}/package.json`)) }];
    } catch {
      return [];
    }
  });
}

/** `$XDG_CACHE_HOME/minillm`, by default `~/.cache/minillm` (a relative XDG_CACHE_HOME is ignored, as its specification asks). */
export function defaultCacheDir(): string {
  const base = process.env.XDG_CACHE_HOME;
  return join(base && isAbsolute(base) ? base : join(homedir(), '.cache'), 'minillm');
}

/** Where what is for cards is kept: CUDA's libraries that were fetched, addons, machine code of kernels. */
export const cudaCache = (): string => join(defaultCacheDir(), 'cuda');

/** Written by `setup --gpu` when the CUDA engine is complete; where it is, a card is the first choice. */
export const cudaNote = (): string => join(cudaCache(), 'engine.json');

/** The folder of Node-API headers and their version, from the npm package `node-api-headers`. */
export function nodeApiHeaders(): { include: string; version: string } | undefined {
  try {
    const file = require.resolve('node-api-headers/package.json');
    const { version } = require(file) as { version: string };
    const include = join(dirname(file), 'include');
    return existsSync(join(include, 'node_api.h')) ? { include, version } : undefined;
  } catch {
    return undefined;
  }
}

/** Every `node_modules` that a file of the package can see, nearest first. */
export function visibleNodeModules(packageDir: string): string[] {
  const found = [join(packageDir, 'node_modules')];
  for (let dir = packageDir; dirname(dir) !== dir; dir = dirname(dir)) {
    if (basename(dir) === 'node_modules') found.push(dir);
  }
  return found.filter((dir) => existsSync(dir));
}

/** TensorFlow's shared libraries of a folder, by file name. */
export function tensorflowLibraries(dir: string): string[] {
  if (!existsSync(dir)) return [];
  return readdirSync(dir)
    .filter(
      (name) =>
        /^(lib)?tensorflow(_cc|_framework)?(\.so|\.dylib|\.dll)[.\d]*$/.test(name) ||
        /^libtensorflow\S*\.dylib$/.test(name),
    )
    .sort();
}

/** Whether a path, links followed, lies inside a folder. */
export function liesWithin(path: string, dir: string): boolean {
  try {
    return `${realpathSync(path)}/`.startsWith(`${realpathSync(dir)}/`);
  } catch {
    return false;
  }
}
