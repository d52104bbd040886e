import { spawnSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import * as tf from '@tensorflow/tfjs-core';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { UsageError } from '../../src/errors.js';
import { initBackend } from '../../src/tensor/backend.js';
import { engineName } from '../../src/tensor/kernels.js';
import type { EnginePackage } from '../../src/tensor/provision/paths.js';
import { temporaryFolder } from '../helpers/temporary.js';

// What is installed beside this project is what each test says, not what this machine happens to have.
const installed = vi.hoisted(() => ({ packages: [] as EnginePackage[] }));
vi.mock('../../src/tensor/provision/paths.js', async (original) => ({
  ...(await original<object>()),
  installedEnginePackages: () => installed.packages,
}));

afterEach(() => {
  installed.packages = [];
  vi.unstubAllEnvs();
});

function packageWith(addon?: string): EnginePackage {
  const dir = temporaryFolder('backend');
  if (addon !== undefined) {
    mkdirSync(join(dir, 'lib', 'napi-v8'), { recursive: true });
    writeFileSync(join(dir, 'lib', 'napi-v8', 'tfjs_binding.node'), addon);
  }
  return { name: '@tensorflow/tfjs-node-gpu', dir };
}

describe('the ladder', () => {
  it.each([
    ['no native package', [], /^@tensorflow\/tfjs-node-gpu is not installed \(npm install/],
    ['a package that is not set up', [packageWith()], /^not set up yet \(".* setup" does it\)$/],
    [
      'a damaged addon',
      [packageWith('not a library')],
      /tfjs_binding\.node: .* \(".* setup" sets it up again\)$/,
    ],
  ])('goes on to wasm with %s, and says why', async (_name, packages, why) => {
    installed.packages = packages;
    const info = await initBackend();
    expect(info).toMatchObject({ name: 'wasm', threads: 1, gpu: false });
    expect(info.failures).toEqual([{ name: 'tensorflow', error: expect.stringMatching(why) }]);
    expect(info.reason).toBe(`the fastest that loads; tensorflow: ${info.failures[0]!.error}`);
    expect(tf.getBackend()).toBe('wasm');
    expect(engineName()).toBe('portable');
  });

  it('never falls back from a backend that was asked for', async () => {
    const error = await initBackend({ backend: 'tensorflow' }).catch((e: unknown) => e);
    expect(error).toBeInstanceOf(UsageError);
    expect((error as Error).message).toMatch(
      /^backend tensorflow does not load: @tensorflow\/tfjs-node-gpu is not installed .*without --backend/,
    );
    expect((error as Error).message).not.toContain('\n');
  });

  it('tries the second native package when the first is not set up', async () => {
    installed.packages = [packageWith(), { ...packageWith('also damaged'), name: '@tensorflow/tfjs-node' }];
    expect((await initBackend()).failures[0]!.error).toContain(installed.packages[1]!.dir);
  });

  it('uses the SIMD build of WebAssembly, with one thread whatever was asked', async () => {
    const info = await initBackend({ backend: 'wasm', threads: 2 });
    expect(info.engine).toMatch(/^WebAssembly with SIMD \(tfjs 4\.\d+\.\d+\)$/);
    expect(info.reason).toBe('asked for; it has one thread only');
    expect(await tf.env().getAsync('WASM_HAS_SIMD_SUPPORT')).toBe(true);
  });

  it('loads plain JavaScript, gradients included', async () => {
    expect((await initBackend({ backend: 'cpu' })).reason).toBe('asked for');
    expect(
      tf.tidy(() =>
        Array.from(
          tf
            .grad((x: tf.Tensor) => tf.sum(tf.square(x)))(tf.tensor1d([1, 2]))
            .dataSync(),
        ),
      ),
    ).toEqual([2, 4]);
  });

  it.each(['wasm', 'cpu'])('%s prints nothing, not even an advertisement', (backend) => {
    const url = (path: string) => JSON.stringify(new URL(path, import.meta.url).href);
    const script = `
      const { initBackend } = await import(${url('../../src/tensor/backend.ts')});
      const tf = await import('@tensorflow/tfjs-core');
      await initBackend({ backend: '${backend}' });
      if (tf.add(tf.tensor1d([1]), tf.tensor1d([2])).dataSync()[0] !== 3) process.exit(7);`;
    const done = spawnSync(process.execPath, ['--import', 'tsx', '--input-type=module', '-e', script], {
      cwd: fileURLToPath(new URL('../..', import.meta.url)),
      encoding: 'utf8',
    });
    expect([done.status, done.stdout, done.stderr]).toEqual([0, '', '']);
  });
});
