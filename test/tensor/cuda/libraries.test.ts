import { createHash } from 'node:crypto';
import { chmodSync, existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { basename, delimiter, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { RunError } from '../../../src/errors.js';
import { fetchLibrary, removeDamagedLibraries } from '../../../src/tensor/engines/cuda/fetchLibrary.js';
import {
  type CudaLibraries,
  chooseLibraries,
  findLibraries,
} from '../../../src/tensor/engines/cuda/libraries.js';
import { cudaCache, defaultCacheDir } from '../../../src/tensor/provision/paths.js';
import { findPip } from '../../../src/tensor/provision/pip.js';
import { temporaryFolder } from '../../helpers/temporary.js';
import { makeWheel, put } from '../provision/fixtures.js';

let root: string;
let said: string[];
beforeEach(() => {
  root = temporaryFolder('cuda-libraries');
  said = [];
  vi.stubEnv('XDG_CACHE_HOME', root);
  for (const name of ['CUDA_HOME', 'CUDA_PATH', 'CONDA_PREFIX', 'LD_LIBRARY_PATH']) vi.stubEnv(name, '');
});
afterEach(() => {
  vi.unstubAllEnvs();
});

describe('the search', () => {
  it("looks in the loader's path, the toolkit that is named, and the packages of every python3, in this order", async () => {
    const python = (name: string): string => {
      const packages = join(root, name, 'site-packages');
      put(join(root, name, 'python3'), `#!/bin/sh\nprintf '%s\\n' /usr/lib ${packages}\n`);
      chmodSync(join(root, name, 'python3'), 0o755);
      return packages;
    };
    put(join(root, 'ld/libnvrtc.so.12'), '');
    put(join(root, 'home/lib64/libcublasLt.so.13'), '');
    put(join(python('first'), 'nvidia/cu13/lib/libnvrtc.so.13'), '');
    const second = python('second');
    put(join(second, 'nvidia/cuda_nvrtc/lib/libnvrtc.so.12'), '');
    put(join(second, 'nvidia/cublas/lib/libcublasLt.so.12'), '');
    vi.stubEnv('LD_LIBRARY_PATH', `${join(root, 'nowhere')}:${join(root, 'ld')}`);
    vi.stubEnv('CUDA_HOME', join(root, 'home'));
    vi.stubEnv('PATH', [join(root, 'first'), join(root, 'second')].join(delimiter));
    const found = await findLibraries();
    const ours = (list: CudaLibraries['nvrtc']) =>
      list
        .filter(({ path }) => path.startsWith(root))
        .map(({ path, from }) => [path.slice(root.length + 1), from]);
    expect(ours(found.nvrtc)).toEqual([
      ['ld/libnvrtc.so.12', '$LD_LIBRARY_PATH'],
      ['first/site-packages/nvidia/cu13/lib/libnvrtc.so.13', `packages of ${join(root, 'first/python3')}`],
      [
        'second/site-packages/nvidia/cuda_nvrtc/lib/libnvrtc.so.12',
        `packages of ${join(root, 'second/python3')}`,
      ],
    ]);
    expect(ours(found.cublasLt)).toEqual([
      ['home/lib64/libcublasLt.so.13', '$CUDA_HOME'],
      [
        'second/site-packages/nvidia/cublas/lib/libcublasLt.so.12',
        `packages of ${join(root, 'second/python3')}`,
      ],
    ]);
  });

  it('takes the newest CUDA that the driver serves, and of that the first place', () => {
    const at = (path: string, major: number) => ({ path, major, from: '' });
    const found = {
      nvrtc: [at('a', 12), at('b', 13), at('c', 13), at('d', 12)],
      cublasLt: [at('e', 13)],
    };
    expect(chooseLibraries(found, 13_000)).toEqual({ nvrtc: at('b', 13), cublasLt: at('e', 13) });
    expect(chooseLibraries(found, 12_080)).toEqual({ nvrtc: at('a', 12) });
    expect(chooseLibraries(found, undefined).nvrtc).toEqual(at('b', 13));
  });
});

const pipAbsent = await findPip().then(
  () => undefined,
  (error: Error) => error.message,
);

describe.skipIf(pipAbsent)(`fetching with pip${pipAbsent ? ` [skipped: ${pipAbsent}]` : ''}`, () => {
  const work = () => ({ cacheDir: defaultCacheDir(), say: (line: string) => void said.push(line) });
  let close = async (): Promise<void> => {};
  afterEach(() => close());

  /** A package index on this machine that has one wheel. */
  async function serve(digest?: string): Promise<void> {
    const name = 'nvidia_cuda_nvrtc-13.0.9-py3-none-manylinux2014_';
    const machine = process.arch === 'arm64' ? 'aarch64' : 'x86_64';
    const wheel = join(root, `${name}${machine}.whl`);
    const files = {
      'nvidia/cu13/lib/libnvrtc.so.13': 'the compiler',
      'nvidia/cu13/lib/libnvrtc-builtins.so.13.0': 'what it loads',
      'nvidia/cu13/include/nvrtc.h': 'not wanted',
      'nvidia_cuda_nvrtc-13.0.9.dist-info/WHEEL':
        'Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n',
    };
    makeWheel(wheel, files, { name: 'nvidia-cuda-nvrtc', version: '13.0.9' });
    const data = readFileSync(wheel);
    const sum = digest ?? createHash('sha256').update(data).digest('hex');
    const server = createServer((request, response) => {
      if (request.url === '/simple/nvidia-cuda-nvrtc/') {
        response.setHeader('content-type', 'text/html');
        response.end(`<a href="/${basename(wheel)}#sha256=${sum}">${basename(wheel)}</a>`);
      } else if (request.url?.endsWith('.whl')) response.end(data);
      else response.writeHead(404).end();
    });
    await new Promise<void>((ready) => server.listen(0, '127.0.0.1', ready));
    close = () => new Promise((closed) => server.close(() => closed()));
    vi.stubEnv('PIP_INDEX_URL', `http://127.0.0.1:${(server.address() as AddressInfo).port}/simple/`);
  }
  beforeEach(() => {
    vi.stubEnv('PIP_CONFIG_FILE', '/dev/null');
    vi.stubEnv('PIP_NO_CACHE_DIR', '1');
    for (const name of ['PIP_FIND_LINKS', 'PIP_EXTRA_INDEX_URL', 'PIP_CONSTRAINT']) vi.stubEnv(name, '');
  });

  it("takes an index of the user's choice, keeps the libraries only, and finds them again", async () => {
    await serve();
    const made = await fetchLibrary('nvrtc', 13, work());
    expect(made).toEqual({
      path: join(cudaCache(), 'libnvrtc-13.0.9/lib/libnvrtc.so.13'),
      major: 13,
      from: "minillm's cache",
    });
    expect(readFileSync(made.path, 'utf8')).toBe('the compiler');
    expect(readdirSync(join(cudaCache(), 'libnvrtc-13.0.9/lib')).sort()).toEqual([
      'libnvrtc-builtins.so.13.0',
      'libnvrtc.so.13',
    ]);
    expect((await findLibraries()).nvrtc.at(-1)).toEqual(made);
    await removeDamagedLibraries(() => {});
    expect(existsSync(made.path)).toBe(true);
    // As long as before, but not the same.
    writeFileSync(made.path, 'The compiler');
    await removeDamagedLibraries((line) => void said.push(line));
    expect(said.at(-1)).toMatch(
      /libnvrtc\.so\.13 has another checksum than when it was stored\); removing it$/,
    );
    expect(existsSync(made.path)).toBe(false);
  });

  it('a file that is not what the index says is refused', async () => {
    await serve('0'.repeat(64));
    const error = await fetchLibrary('nvrtc', 13, work()).catch((e: unknown) => e);
    expect(error).toBeInstanceOf(RunError);
    expect((error as Error).message).toMatch(/^pip could not fetch nvidia-cuda-nvrtc==13\.\*: .*HASHES/);
    expect(existsSync(join(cudaCache(), 'libnvrtc-13.0.9'))).toBe(false);
  });

  it('without a network says in one line what else there is', async () => {
    await serve();
    await close();
    const error = (await fetchLibrary('nvrtc', 13, work()).catch((e: unknown) => e)) as Error;
    expect(error).toBeInstanceOf(RunError);
    expect(error.message).toMatch(
      /^pip could not fetch nvidia-cuda-nvrtc==13\.\*: .*without a network: PIP_FIND_LINKS=FOLDER .* --from FOLDER for one that holds libnvrtc\.so\.13$/,
    );
    expect(error.message).not.toContain('\n');
    close = async () => {};
  });
});
