import { existsSync, readFileSync } from 'node:fs';
import { availableParallelism, cpus, freemem, totalmem } from 'node:os';
import { basename, join } from 'node:path';
import * as tf from '@tensorflow/tfjs-core';
import { type BackendInfo, type BackendName, cudaInspection, initBackend } from '../backend.js';
import { deviceMemory } from '../deviceMemory.js';
import { findCompiler } from './addon.js';
import { inspectEngine } from './install.js';
import { defaultCacheDir, enginePackageNames, installedEnginePackages, setupCommand } from './paths.js';
import { run, which } from './process.js';
import { folderBytes, LIBRARY_ENTRY, listEntries } from './store.js';

/** What `doctor` knows. `null` means: not there, or not to be found out. */
export interface Diagnosis {
  backend: (BackendInfo & { startup_ms: number }) | null;
  versions: { 'minillm-rl': string; node: string; tfjs: string; tensorflow: string | null };
  cpu: { model: string; cores: number; threads: number };
  gpu: { used: boolean; how: string; devices: string[] };
  /** The CUDA engine: its card, driver, libraries and addon. */
  cuda: {
    state: string;
    driver: string | null;
    cards: { name: string; compute_capability: string; memory_mb: number }[];
    /** Of the card that is in use. */
    free_mb: number | null;
    libraries: Record<'nvrtc' | 'cublasLt', { path: string; from: string } | null>;
    addon: string | null;
  };
  memory: { total_mb: number; free_mb: number; process_mb: number };
  engine: { package: string | null; state: 'ready' | 'damaged' | 'absent'; detail: string };
  cache: { dir: string; libraries: { dir: string; state: string; mb: number }[] };
  tools: { python: string | null; pip: string | null; compiler: string | null };
  /** What is missing or broken, with the command that mends it. */
  problems: { what: string; mend: string }[];
}

/**
 * Looks at everything that decides which backend is used, by loading the one that would be.
 *
 * @param options.backend looks at this one only; when it does not load `backend` is null and `problems` says why
 */
export async function diagnose(
  options: { backend?: BackendName; threads?: number; cacheDir?: string } = {},
): Promise<Diagnosis> {
  const problems: Diagnosis['problems'] = [];
  const cacheDir = options.cacheDir ?? defaultCacheDir();
  const [pkg] = installedEnginePackages();
  const engine = pkg
    ? await inspectEngine(pkg, cacheDir)
    : { state: 'absent' as const, detail: 'no native package is installed' };
  const started = performance.now();
  const backend = await initBackend(options).then(
    (info) => ({ ...info, startup_ms: Math.round(performance.now() - started) }),
    (error: Error) => {
      const mend = options.backend === 'cuda' ? `${setupCommand} --gpu` : setupCommand;
      problems.push({ what: error.message, mend });
      return null;
    },
  );
  const tools = await findTools();
  const [devices, nvidia] = await nvidiaDevices();
  const usesNative = backend?.name === 'tensorflow';
  const { inspectCuda } = await cudaInspection();
  const cuda = await inspectCuda({
    card: devices.length > 0 || existsSync('/dev/nvidiactl'),
    asked: options.backend === 'cuda',
  });
  if (engine.state !== 'ready') {
    const mend = pkg ? setupCommand : `npm install --ignore-scripts ${enginePackageNames[0]}`;
    problems.push({ what: `native engine ${engine.state}: ${engine.detail}`, mend });
    if (!tools.python)
      problems.push({ what: 'python3 is missing (fetches the wheel)', mend: 'apt-get install python3-pip' });
    else if (!tools.pip)
      problems.push({ what: 'pip is missing (fetches the wheel)', mend: 'python3 -m ensurepip' });
    if (!tools.compiler)
      problems.push({ what: 'no C++ compiler (builds the addon)', mend: 'apt-get install g++' });
  }
  problems.push(...cuda.problems);
  return {
    backend,
    versions: {
      'minillm-rl': ownVersion(),
      node: process.version,
      tfjs: tf.version_core,
      tensorflow: /^TensorFlow (\S+)/.exec(backend?.engine ?? '')?.[1] ?? null,
    },
    cpu: {
      model: cpus()[0]?.model.trim() ?? 'unknown',
      cores: availableParallelism(),
      threads: backend?.threads ?? 0,
    },
    gpu: {
      used: backend?.gpu ?? false,
      how: usesNative && backend.gpu ? `by TensorFlow; ${nvidia}` : nvidia,
      devices,
    },
    cuda: {
      state: cuda.state,
      driver: cuda.driver,
      cards: cuda.cards.map(({ name, architecture, totalBytes }) => ({
        name,
        compute_capability: (architecture / 10).toFixed(1),
        memory_mb: megabytes(totalBytes),
      })),
      free_mb: backend ? megabytesOrNull(deviceMemory()?.free) : null,
      libraries: cuda.libraries,
      addon: cuda.addon,
    },
    memory: {
      total_mb: megabytes(totalmem()),
      free_mb: megabytes(availableMemory()),
      process_mb: megabytes(process.memoryUsage.rss()),
    },
    engine: { package: pkg ? `${pkg.name} in ${pkg.dir}` : null, state: engine.state, detail: engine.detail },
    cache: {
      dir: cacheDir,
      libraries: [...listEntries(cacheDir), ...listEntries(join(cacheDir, 'cuda'), LIBRARY_ENTRY)].map(
        ({ dir, entry }) => ({
          dir,
          state: typeof entry === 'string' ? entry : `whole (from ${entry.manifest.source})`,
          mb: megabytes(folderBytes(dir)),
        }),
      ),
    },
    tools,
    problems,
  };
}

async function findTools(): Promise<Diagnosis['tools']> {
  const python = which('python3') ?? which('python');
  const compiler = findCompiler();
  const say = async (command: string | undefined, ...args: string[]): Promise<string | null> => {
    if (!command) return null;
    const done = await run(command, args, { timeoutMs: 20_000 });
    return done.status === 0 ? (done.stdout || done.stderr).trim().split('\n')[0]! : null;
  };
  const [pythonVersion, pip, compilerVersion] = await Promise.all([
    say(python, '--version'),
    say(python, '-m', 'pip', '--version'),
    say(compiler, '-dumpfullversion', '-dumpversion'),
  ]);
  return {
    python: pythonVersion,
    pip: pip ? (/^pip \S+/.exec(pip)?.[0] ?? pip) : null,
    compiler: compiler ? `${basename(compiler)} ${compilerVersion ?? ''}`.trim() : null,
  };
}

/** The GPUs that NVIDIA's driver knows, and what was asked to find out. */
async function nvidiaDevices(): Promise<[devices: string[], how: string]> {
  const tool = which('nvidia-smi');
  if (!tool) return [[], 'nvidia-smi is not there'];
  const query = ['--query-gpu=name,memory.total,driver_version', '--format=csv,noheader'];
  const done = await run(tool, query, { timeoutMs: 20_000 });
  if (done.status !== 0) return [[], 'nvidia-smi failed'];
  const devices = done.stdout.split('\n').flatMap((line) => line.trim() || []);
  return [devices, `nvidia-smi lists ${devices.length}`];
}

/** What a new process could get; `freemem` alone leaves out the page cache, which the system gives back. */
export function availableMemory(): number {
  const available =
    existsSync('/proc/meminfo') && /^MemAvailable:\s+(\d+) kB/m.exec(readFileSync('/proc/meminfo', 'utf8'));
  return available ? Number(available[1]) * 1024 : freemem();
}

function ownVersion(): string {
  const file = new URL('../../../package.json', import.meta.url);
  return (JSON.parse(readFileSync(file, 'utf8')) as { version: string }).version;
}

function megabytesOrNull(bytes: number | undefined): number | null {
  return bytes === undefined ? null : megabytes(bytes);
}

function megabytes(bytes: number): number {
  return Math.round(bytes / 1e6);
}
