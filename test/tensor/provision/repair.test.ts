import { mkdirSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { setupEngine } from '../../../src/tensor/provision/setup.js';
import { put } from './fixtures.js';
import { ADDON, canBuild, makeSandbox, type Sandbox, why } from './sandbox.js';

let box: Sandbox;
beforeEach(async () => {
  box = await makeSandbox();
});
afterEach(() => {
  vi.unstubAllEnvs();
});

describe.skipIf(!canBuild)(`repair${why}`, () => {
  it('repairs a cache that was shortened, changed or removed', async () => {
    await setupEngine(box.options());
    const dir = join(box.cacheDir, 'libtensorflow-2.21.7-cpu');
    const library = join(dir, 'tensorflow/libtensorflow_cc.so.2');
    const whole = readFileSync(library);

    writeFileSync(library, whole.subarray(0, 100));
    expect(await box.inspect()).toMatchObject({ state: 'damaged' });
    expect((await setupEngine(box.options())).changed).toBe(true);
    expect(readFileSync(library).equals(whole)).toBe(true);

    // The same size, other bytes: seen when a package is linked anew.
    writeFileSync(library, Buffer.alloc(whole.length));
    rmSync(join(box.packageDir, 'lib'), { recursive: true });
    expect((await setupEngine(box.options())).changed).toBe(true);
    expect(box.said.join('\n')).toMatch(
      /is damaged \(tensorflow\/libtensorflow_cc\.so\.2 has another checksum/,
    );
    expect(readFileSync(library).equals(whole)).toBe(true);

    rmSync(dir, { recursive: true });
    expect(await box.inspect()).toMatchObject({
      state: 'damaged',
      detail: expect.stringContaining('which is gone'),
    });
    expect((await setupEngine(box.options())).changed).toBe(true);
    expect((await box.inspect()).state).toBe('ready');
  });

  it('is not misled by what a killed set-up left behind', async () => {
    put(join(box.cacheDir, 'tmp-1-dead/out/tensorflow/libtensorflow_cc.so.2'), 'half');
    put(join(box.cacheDir, 'libtensorflow-2.21.9-cpu/tensorflow/libtensorflow_cc.so.2'), 'half');
    put(join(box.cacheDir, 'setup.lock'), '999999999 nowhere 0');
    rmSync(join(box.cacheDir, 'setup.lock'));
    expect((await setupEngine(box.options())).engine.version).toBe('2.21.7');
    expect(readdirSync(box.cacheDir)).toEqual(['libtensorflow-2.21.7-cpu', 'libtensorflow-2.21.9-cpu']);
    expect(box.said.join('\n')).toContain('libtensorflow-2.21.9-cpu has no manifest; it is not used');
  });

  it('does not count links into an unchecked cache as set up', async () => {
    put(join(box.cacheDir, 'libtensorflow-2.21.7-cpu/tensorflow/libtensorflow_cc.so.2'), 'by hand');
    mkdirSync(join(box.packageDir, 'deps/lib'), { recursive: true });
    symlinkSync(
      join(box.cacheDir, 'libtensorflow-2.21.7-cpu/tensorflow/libtensorflow_cc.so.2'),
      join(box.packageDir, 'deps/lib/libtensorflow_cc.so.2'),
    );
    put(join(box.packageDir, ADDON), 'an addon');
    expect(await box.inspect()).toEqual({
      state: 'damaged',
      detail: 'links into the cache that no set-up made',
    });
    expect((await setupEngine(box.options())).changed).toBe(true);
  });
});
