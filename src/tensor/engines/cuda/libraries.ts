import { existsSync, readdirSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { run, which } from '../../provision/process.js';

/** What the engine loads at run time besides the driver. Each is a path, or a bare name for the loader to find. */
export interface CudaLibraries {
  nvrtc: string[];
  cublasLt: string[];
  /** The folders that were looked in. */
  folders: string[];
}

const NAMES = { nvrtc: /^libnvrtc\.so\.1[23]$/, cublasLt: /^libcublasLt\.so\.1[23]$/ };

/**
 * Looks for NVRTC and cublasLt of CUDA 12 or 13: $CUDA_HOME, $LD_LIBRARY_PATH, the toolkit's usual places, and the `nvidia`
 * packages of the python3 on the PATH (they come with PyTorch). The newest of each place comes first.
 */
export async function findLibraries(): Promise<CudaLibraries> {
  const folders = [...new Set([...toolkitFolders(), ...(await pythonFolders())])].filter((dir) =>
    existsSync(dir),
  );
  const find = (name: RegExp, bare: string): string[] => [
    ...folders.flatMap((dir) =>
      readdirSync(dir)
        .filter((file) => name.test(file))
        .sort()
        .reverse()
        .map((file) => join(dir, file)),
    ),
    `${bare}.13`,
    `${bare}.12`,
  ];
  return {
    nvrtc: find(NAMES.nvrtc, 'libnvrtc.so'),
    cublasLt: find(NAMES.cublasLt, 'libcublasLt.so'),
    folders,
  };
}

function toolkitFolders(): string[] {
  const homes = [process.env.CUDA_HOME, process.env.CUDA_PATH, '/usr/local/cuda', '/opt/cuda'];
  const versions = existsSync('/usr/local')
    ? readdirSync('/usr/local')
        .filter((name) => /^cuda-1[23]/.test(name))
        .sort()
        .reverse()
        .map((name) => join('/usr/local', name))
    : [];
  const within = [...homes, ...versions].flatMap((home) =>
    home ? [join(home, 'lib64'), join(home, 'lib'), join(home, 'targets/x86_64-linux/lib')] : [],
  );
  return [...(process.env.LD_LIBRARY_PATH ?? '').split(delimiter).filter(Boolean), ...within];
}

/** The `nvidia` packages beside PyTorch; their layout differs between CUDA 12 and 13. */
async function pythonFolders(): Promise<string[]> {
  const python = which('python3');
  if (!python) return [];
  const { status, stdout } = await run(python, ['-c', 'import site, sys; print("\\n".join(sys.path))']);
  if (status !== 0) return [];
  const parts = ['cu13/lib', 'cuda_nvrtc/lib', 'cublas/lib'];
  return stdout
    .split('\n')
    .filter((dir) => dir.endsWith('packages'))
    .flatMap((dir) => parts.map((part) => join(dir, 'nvidia', part)));
}
