import { existsSync, readdirSync, realpathSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { cudaCache } from '../../provision/paths.js';
import { run, which } from '../../provision/process.js';
import { LIBRARY_ENTRY, listEntries } from '../../provision/store.js';

/** What the engine loads at run time besides the driver. */
export const libraryNames = ['nvrtc', 'cublasLt'] as const;
export type LibraryName = (typeof libraryNames)[number];

export interface FoundLibrary {
  path: string;
  /** 12 or 13. */
  major: number;
  /** Where it was found, in words for `doctor`. */
  from: string;
}
export type CudaLibraries = Record<LibraryName, FoundLibrary[]>;

interface Place {
  dir: string;
  from: string;
}

/**
 * Looks for NVRTC and cublasLt of CUDA 12 or 13: $LD_LIBRARY_PATH, $CUDA_HOME, the toolkit's usual places, the `nvidia` packages
 * of every python3 on the PATH (they come with PyTorch), and what `setup --gpu` fetched. In that order; the newest of a folder first.
 */
export async function findLibraries(): Promise<CudaLibraries> {
  return within([...fromEnvironment(), ...toolkits(), ...(await pythonPackages()), ...fetched()]);
}

/** The libraries that one folder has. */
export function librariesOf(dir: string, from: string): CudaLibraries {
  return within([
    { dir, from },
    { dir: join(dir, 'lib64'), from },
    { dir: join(dir, 'lib'), from },
  ]);
}

/** Of every library the first of the newest CUDA that a driver can serve. @param driver as cuDriverGetVersion gives it, or unknown */
export function chooseLibraries(
  found: CudaLibraries,
  driver: number | undefined,
): Partial<Record<LibraryName, FoundLibrary>> {
  const most = driver === undefined ? Number.POSITIVE_INFINITY : Math.floor(driver / 1000);
  const chosen: Partial<Record<LibraryName, FoundLibrary>> = {};
  for (const name of libraryNames) {
    const usable = found[name].filter(({ major }) => major <= most);
    const newest = usable.find(({ major }) => usable.every((other) => other.major <= major));
    if (newest) chosen[name] = newest;
  }
  return chosen;
}

function within(places: readonly Place[]): CudaLibraries {
  const there = places.filter(({ dir }) => existsSync(dir));
  const find = (name: LibraryName): FoundLibrary[] =>
    there.flatMap(({ dir, from }) =>
      [13, 12]
        .map((major) => ({ path: join(dir, `lib${name}.so.${major}`), major, from }))
        .filter(({ path }) => existsSync(path)),
    );
  return { nvrtc: find('nvrtc'), cublasLt: find('cublasLt') };
}

function fromEnvironment(): Place[] {
  const path = (process.env.LD_LIBRARY_PATH ?? '').split(delimiter).filter(Boolean);
  return [
    ...path.map((dir) => ({ dir, from: '$LD_LIBRARY_PATH' })),
    ...['CUDA_HOME', 'CUDA_PATH', 'CONDA_PREFIX'].flatMap((name) =>
      process.env[name] ? librariesIn(process.env[name], `$${name}`) : [],
    ),
  ];
}

function toolkits(): Place[] {
  const versions = existsSync('/usr/local')
    ? readdirSync('/usr/local')
        .filter((name) => /^cuda-1[23]/.test(name))
        .sort((a, b) => b.localeCompare(a, 'en', { numeric: true }))
        .map((name) => join('/usr/local', name))
    : [];
  const machine = process.arch === 'arm64' ? 'aarch64' : 'x86_64';
  const system = [`/usr/lib/${machine}-linux-gnu`, '/usr/lib64'];
  return [
    ...['/usr/local/cuda', '/opt/cuda', ...versions].flatMap((home) => librariesIn(home, 'the CUDA toolkit')),
    ...system.map((dir) => ({ dir, from: 'the system' })),
  ];
}

function librariesIn(home: string, from: string): Place[] {
  const target = process.arch === 'arm64' ? 'targets/sbsa-linux/lib' : 'targets/x86_64-linux/lib';
  return ['lib64', 'lib', target].map((part) => ({ dir: join(home, part), from }));
}

/** The `nvidia` packages beside PyTorch; their layout differs between CUDA 12 and 13. */
async function pythonPackages(): Promise<Place[]> {
  const pythons = new Map<string, string>();
  for (const dir of (process.env.PATH ?? '').split(delimiter)) {
    const python = dir && which(join(dir, 'python3'));
    if (python && !pythons.has(realpathSync(python))) pythons.set(realpathSync(python), python);
  }
  const places = await Promise.all(
    [...pythons.values()].map(async (python) => {
      const { status, stdout } = await run(python, ['-c', 'import sys; print("\\n".join(sys.path))'], {
        timeoutMs: 20_000,
      });
      const paths = status === 0 ? stdout.split('\n').filter((dir) => dir.endsWith('packages')) : [];
      const parts = ['cu13/lib', 'cuda_nvrtc/lib', 'cublas/lib'];
      return paths.flatMap((dir) =>
        parts.map((part) => ({ dir: join(dir, 'nvidia', part), from: `packages of ${python}` })),
      );
    }),
  );
  return places.flat();
}

function fetched(): Place[] {
  return listEntries(cudaCache(), LIBRARY_ENTRY).flatMap(({ dir, entry }) =>
    typeof entry === 'string' ? [] : [{ dir: join(dir, 'lib'), from: "minillm's cache" }],
  );
}
