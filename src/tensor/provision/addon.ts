import { createHash } from 'node:crypto';
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { cpus } from 'node:os';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { publish, syncTree } from '../../durable.js';
import { RunError } from '../../errors.js';
import { type EnginePackage, nodeApiHeaders } from './paths.js';
import { run, which } from './process.js';
import { type CacheEntry, LIBRARY_FOLDER, PREBUILT_ADDON, sha256OfFile, stagingFolder } from './store.js';

/**
 * The addon (tfjs_binding.node) compiled from the package's two C++ sources and our own kernels (engines/tensorflow/kernels) against
 * a cached library. It is kept beside that library under a key of everything that went in, so that a second project only
 * copies it.
 */
const SOURCES = ['tfjs_backend.cc', 'tfjs_binding.cc'];
const FLAGS = ['-O2', '-std=c++17', '-fPIC', '-DNAPI_VERSION=8', '-DNODE_GYP_MODULE_NAME=tfjs_binding'];
const KERNELS = fileURLToPath(new URL('../engines/tensorflow/kernels/', import.meta.url));
// The kernels are compiled where they run, for the processor that is there; the key below names it.
const KERNEL_FLAGS = [
  '-O3',
  process.arch === 'arm64' ? '-mcpu=native' : '-march=native',
  '-fno-math-errno',
  '-std=c++17',
  '-fPIC',
  '-pthread',
];
const LIBRARIES = ['libtensorflow_cc.so.2', 'libtensorflow_framework.so.2'];
// -z now: a function that the library does not have is found by the trial load, not in the middle of a run.
const LINK_FLAGS = ['-shared', '-Wl,-z,now', '-Wl,-rpath,$ORIGIN/../../deps/lib'];

/** What is needed to compile; `undefined` when nothing is missing, else a line with the way to get it. */
export function compilerProblem(): string | undefined {
  if (!findCompiler()) {
    return 'a C++ compiler is missing (Debian/Ubuntu: apt-get install g++; Fedora: dnf install gcc-c++; or clang++; $CXX is looked at first)';
  }
  if (!nodeApiHeaders()) return 'the npm package node-api-headers is missing (npm install node-api-headers)';
  return undefined;
}

/** $CXX, g++, c++ or clang++, the first that is there. */
export function findCompiler(): string | undefined {
  for (const name of [process.env.CXX, 'g++', 'c++', 'clang++']) {
    const found = name ? which(name) : undefined;
    if (found) return found;
  }
  return undefined;
}

/** The addon for a package and a cached library: prebuilt, from an earlier compilation, or compiled now. */
export async function addonFor(
  pkg: EnginePackage,
  entry: CacheEntry,
  work: { cacheDir: string; say: (line: string) => void; signal?: AbortSignal | undefined },
): Promise<string> {
  if (entry.manifest.files[PREBUILT_ADDON]) return join(entry.dir, PREBUILT_ADDON);
  const key = addonKey(pkg, entry);
  const folder = join(entry.dir, 'addons', key);
  const kept = join(folder, 'tfjs_binding.node');
  const sum = join(folder, 'sha256');
  if (existsSync(kept) && existsSync(sum) && readFileSync(sum, 'utf8').trim() === (await sha256OfFile(kept)))
    return kept;
  const problem = compilerProblem();
  if (problem) throw new RunError(problem);
  const staging = stagingFolder(work.cacheDir);
  const built = await compile(pkg, entry, staging, work);
  writeFileSync(join(staging, 'sha256'), `${await sha256OfFile(built)}\n`);
  const whole = join(staging, 'whole');
  mkdirSync(whole);
  for (const file of ['tfjs_binding.node', 'sha256']) copyFileSync(join(staging, file), join(whole, file));
  mkdirSync(join(entry.dir, 'addons'), { recursive: true });
  rmSync(folder, { recursive: true, force: true });
  syncTree(whole);
  publish(whole, folder);
  return kept;
}

/** Names everything that decides the compiled bytes, short of the compiler itself. */
export function addonKey(pkg: EnginePackage, entry: CacheEntry): string {
  const hash = createHash('sha256');
  const say = (part: string | Buffer) => hash.update(`${part.length}:`).update(part);
  const binding = join(pkg.dir, 'binding');
  for (const file of existsSync(binding) ? readdirSync(binding).sort() : []) {
    if (/\.(cc|h)$/.test(file)) {
      say(file);
      say(readFileSync(join(binding, file)));
    }
  }
  for (const file of readdirSync(KERNELS).sort()) {
    say(file);
    say(readFileSync(join(KERNELS, file)));
  }
  const processor = cpus()[0]?.model ?? '';
  const settings = [
    ...[...FLAGS, ...KERNEL_FLAGS, ...LINK_FLAGS, nodeApiHeaders()?.version ?? ''],
    ...[process.platform, process.arch, processor],
  ];
  for (const part of settings) say(part);
  for (const [path, { sha256 }] of Object.entries(entry.manifest.files))
    if (path.includes('libtensorflow')) say(sha256);
  return hash.digest('hex').slice(0, 16);
}

async function compile(
  pkg: EnginePackage,
  entry: CacheEntry,
  staging: string,
  work: { say: (line: string) => void; signal?: AbortSignal | undefined },
): Promise<string> {
  const compiler = findCompiler()!;
  work.say(`compiling the addon with ${basename(compiler)}`);
  const started = Date.now();
  const build = async (...args: string[]): Promise<void> => {
    const done = await run(compiler, args, { cwd: staging, timeoutMs: 10 * 60_000, signal: work.signal });
    if (done.status === 0) return;
    const said = done.stderr.split('\n').find((line) => /error/i.test(line));
    const why = (done.trouble ?? said?.trim() ?? `status ${done.status}`).slice(0, 300);
    throw new RunError(`${basename(compiler)} could not compile the addon: ${why}`);
  };
  const includes = ['-I', nodeApiHeaders()!.include, '-I', join(entry.dir, LIBRARY_FOLDER, 'include')];
  const kernels = readdirSync(KERNELS).filter((file) => file.endsWith('.cc'));
  const compileKernels = async (): Promise<string[]> => {
    try {
      // One after another beside the two sources: each takes a second or two, and two cores are few.
      for (const file of kernels)
        await build(...KERNEL_FLAGS, ...includes, '-c', join(KERNELS, file), '-o', `${file}.o`);
      return kernels.map((file) => `${file}.o`);
    } catch (error) {
      if (work.signal?.aborted) throw error;
      // Everything works without them, out of TensorFlow's own operations.
      work.say(`  going on without the fused kernels: ${(error as Error).message}`);
      return [];
    }
  };
  const [kernelObjects] = await Promise.all([
    compileKernels(),
    ...SOURCES.map((source) =>
      build(...FLAGS, ...includes, '-c', join(pkg.dir, 'binding', source), '-o', `${source}.o`),
    ),
    // Empty libraries of the same names: the linker only wants the names to write down, and to read the true
    // ones (788 MB of symbols) takes it 8 to 17 s.
    ...LIBRARIES.map((name) => build('-shared', `-Wl,-soname,${name}`, '-o', name, '-x', 'c++', '/dev/null')),
  ]);
  const objects = [...SOURCES.map((source) => `${source}.o`), ...kernelObjects];
  await build(
    ...objects,
    '-o',
    'tfjs_binding.node',
    '-Wl,--no-as-needed',
    ...LIBRARIES.map((name) => `./${name}`),
    ...LINK_FLAGS,
  );
  work.say(`  compiled in ${((Date.now() - started) / 1000).toFixed(1)} s`);
  return join(staging, 'tfjs_binding.node');
}
