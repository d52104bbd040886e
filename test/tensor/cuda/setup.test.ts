import { existsSync, mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import type { Diagnosis } from '../../../src/tensor/provision/diagnose.js';
import { type Outcome, spawnProgram } from '../../helpers/cli.js';
import { temporaryFolder } from '../../helpers/temporary.js';
import { makePython, makeWheel } from '../provision/fixtures.js';
import { BUILTINS, canFake, fakeLibrary, whyNot } from './fakeDriver.js';

const root = temporaryFolder('setup-gpu');
const driver = join(root, 'driver');
const libraries = join(root, 'libraries');
const wheels = join(root, 'wheels');
const addons = join(root, 'addons');
const cache = (name: string): string => join(root, name, 'minillm', 'cuda');

/** The program with a cache of its own, and a driver that the loader finds. */
async function minillm(name: string, env: Record<string, string>, ...args: string[]): Promise<Outcome> {
  // Compiled once for all caches.
  mkdirSync(cache(name), { recursive: true });
  if (!existsSync(join(cache(name), 'addons'))) symlinkSync(addons, join(cache(name), 'addons'));
  const own = { XDG_CACHE_HOME: join(root, name), LD_LIBRARY_PATH: driver, MINILLM_CUDA: '', ...env };
  return spawnProgram({ env: { ...process.env, CUDA_HOME: '', CONDA_PREFIX: '', ...own } }, ...args).done;
}
const doctor = async (name: string, env: Record<string, string>, ...more: string[]) =>
  JSON.parse((await minillm(name, env, 'doctor', '--json', ...more)).stdout) as Diagnosis;

/** What `setup --gpu` writes where a card has computed. */
function noted(name: string): void {
  mkdirSync(cache(name), { recursive: true });
  const note = {
    nvrtc: join(libraries, 'libnvrtc.so.13'),
    cublasLt: join(libraries, 'libcublasLt.so.13'),
    from: { nvrtc: 'a folder', cublasLt: 'a folder' },
    tried: 'Pretended H200, CUDA 13.0',
  };
  writeFileSync(join(cache(name), 'engine.json'), JSON.stringify(note));
}

describe.skipIf(!canFake)(`setup --gpu${whyNot}`, () => {
  let bin: string;
  beforeAll(() => {
    mkdirSync(addons, { recursive: true });
    fakeLibrary(driver, 'libcuda.so.1');
    fakeLibrary(libraries, BUILTINS);
    mkdirSync(wheels, { recursive: true });
    for (const [library, project] of [
      ['libnvrtc.so', 'nvidia-cuda-nvrtc'],
      ['libcublasLt.so', 'nvidia-cublas'],
    ] as const) {
      const made = readFileSync(fakeLibrary(libraries, library, `${library}.13`));
      const name = `${project.replaceAll('-', '_')}-13.0.9-py3-none-any.whl`;
      const files = {
        [`nvidia/cu13/lib/${library}.13`]: made,
        [`nvidia/cu13/lib/${library.replace('.so', '.alt.so')}.13`]: 'not wanted',
        'nvidia/cu13/include/nvrtc.h': 'not wanted',
      };
      makeWheel(join(wheels, name), files, { name: project, version: '13.0.9' });
    }
    const found = Object.fromEntries(
      readdirSync(wheels).map((file) => [file.split('-')[0]!.replaceAll('_', '-'), join(wheels, file)]),
    );
    bin = makePython(root, found).bin;
  });

  it('without a card fetches, compiles, notes and says that nothing was tried; the second time there is nothing to do', async () => {
    const env = { FAKE_CARDS: '0', PATH: `${bin}${delimiter}${process.env.PATH}` };
    const first = await minillm('login', env, 'setup', '--gpu', '--from', 'wheel', '--json');
    expect(first.code, first.stderr).toBe(0);
    expect(JSON.parse(first.stdout)).toMatchObject({
      changed: true,
      nvrtc: join(cache('login'), 'libnvrtc-13.0.9/lib/libnvrtc.so.13'),
      cublasLt: join(cache('login'), 'libcublasLt-13.0.9/lib/libcublasLt.so.13'),
      from: { nvrtc: "minillm's cache", cublasLt: "minillm's cache" },
      tried: null,
      no_card: 'the NVIDIA driver lists no card',
    });
    expect(first.stderr).toMatch(/^compiling the addon\ndownloading nvidia-cuda-nvrtc==13\.\* with pip\n/);
    expect(readdirSync(join(cache('login'), 'libnvrtc-13.0.9/lib'))).toEqual(['libnvrtc.so.13']);
    // Nothing unfinished is left.
    expect(readdirSync(join(root, 'login', 'minillm'))).toEqual(['cuda']);
    const again = await minillm('login', { FAKE_CARDS: '0', PATH: '/nowhere' }, 'setup', '--gpu');
    expect(again).toMatchObject({ code: 0, stderr: '' });
    expect(again.stdout).toMatch(
      /^CUDA engine: ready already, nothing to do\. No card was tried here \(the NVIDIA driver lists no card\)/,
    );
    // A card is the first choice only where there is one.
    expect((await doctor('login', { FAKE_CARDS: '0' })).backend!.name).not.toBe('cuda');
  });

  it('a card that does not compute is not taken, and said', async () => {
    const outcome = await minillm('wrong', {}, 'setup', '--gpu', '--from', libraries);
    expect(outcome.code).toBe(1);
    expect(outcome.stderr.trim().split('\n').at(-1)).toMatch(
      /^minillm: Pretended H200, CUDA 13\.0 is here but does not compute: a product is wrong: 0 where .* is right$/,
    );
    expect(existsSync(join(cache('wrong'), 'engine.json'))).toBe(false);
    const found = await doctor('wrong', { LD_LIBRARY_PATH: `${driver}:${libraries}` });
    expect(found.backend!.name).not.toBe('cuda');
    expect(found.cuda).toMatchObject({
      state: 'the CUDA engine is not set up',
      driver: '13.0',
      cards: [{ name: 'Pretended H200', compute_capability: '9.0', memory_mb: 140_000 }],
      libraries: { nvrtc: { path: join(libraries, 'libnvrtc.so.13'), from: '$LD_LIBRARY_PATH' } },
    });
    const [problem] = found.problems.filter(({ what }) => /CUDA/.test(what));
    expect(problem!.mend).toMatch(/setup --gpu$/);
  });

  it('where it is complete a card is the first choice, which says that it is new; --backend and MINILLM_CUDA=off are stronger', async () => {
    noted('ready');
    const found = await doctor('ready', {});
    expect(found.backend).toMatchObject({ name: 'cuda', gpu: true, failures: [] });
    expect(found.backend!.engine).toBe('CUDA 13.0 on Pretended H200, tf32');
    expect(found.backend!.reason).toBe(
      'the fastest; this engine is new; --backend tensorflow computes on the processor',
    );
    expect(found.cuda).toMatchObject({
      state: 'ready, tried on Pretended H200, CUDA 13.0',
      free_mb: 130_000,
      libraries: { cublasLt: { from: 'a folder' } },
    });
    expect(found.problems.filter(({ what }) => /CUDA/.test(what))).toEqual([]);
    expect((await doctor('ready', { MINILLM_CUDA: 'off' })).backend!.name).not.toBe('cuda');
    expect((await doctor('ready', {}, '--backend', 'cpu')).backend!.name).toBe('cpu');
    expect(
      (await doctor('ready', { FAKE_CARDS: '0' })).backend!.failures.map(({ name }) => name),
    ).not.toContain('cuda');
  });

  it('where it does not open, that is one line and the next is taken', async () => {
    noted('spoilt');
    const note = JSON.parse(readFileSync(join(cache('spoilt'), 'engine.json'), 'utf8'));
    writeFileSync(join(root, 'no-library'), 'not a library');
    writeFileSync(
      join(cache('spoilt'), 'engine.json'),
      JSON.stringify({ ...note, nvrtc: join(root, 'no-library') }),
    );
    const { backend } = await doctor('spoilt', {});
    expect(backend!.name).not.toBe('cuda');
    expect(backend!.failures[0]).toMatchObject({ name: 'cuda' });
    expect(backend!.failures[0]!.error).toMatch(/^NVRTC \(libnvrtc\) does not load: .*no-library/);
    expect(backend!.reason).toMatch(/^the fastest that loads; cuda: NVRTC/);
  });

  it.each([
    [
      { FAKE_CUDA: '11080' },
      /^the NVIDIA driver knows CUDA 11\.8, and 12 or newer/,
      /NVIDIA's driver, 525 or newer/,
    ],
    [{ FAKE_ARCH: '75' }, /^Pretended H200 has compute capability 7\.5, .*8\.0 \(Ampere\)/, /another card/],
    [{ FAKE_CARDS: '0' }, /^the NVIDIA driver lists no card$/, /nvidia-smi/],
  ])('doctor names what is in the way, and what mends it: %o', async (env, what, mend) => {
    noted('ways');
    await minillm('ways', { FAKE_CARDS: '0' }, 'setup', '--gpu');
    const found = await doctor('ways', env, '--backend', 'cuda');
    const [problem] = found.problems.filter((one) => what.test(one.what));
    expect(problem?.mend).toMatch(mend);
  });

  it('a --from that holds nothing is a usage error', async () => {
    mkdirSync(join(root, 'empty'), { recursive: true });
    const outcome = await minillm('nothing', {}, 'setup', '--gpu', '--from', join(root, 'empty'), '--quiet');
    expect(outcome).toMatchObject({ code: 2 });
    expect(outcome.stderr).toMatch(/empty: holds no libnvrtc\.so\.12 or \.13$/m);
    const official = await minillm('nothing', {}, 'setup', '--gpu', '--from', 'official');
    expect(official.code).toBe(2);
    expect(official.stderr).toMatch(/--from official: with --gpu it is wheel, or a folder/);
  });
});
