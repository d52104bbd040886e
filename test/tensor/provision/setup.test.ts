import { lstatSync, readdirSync, realpathSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { probeAddon } from '../../../src/tensor/provision/install.js';
import { setupEngine } from '../../../src/tensor/provision/setup.js';
import { listFiles } from '../../../src/tensor/provision/store.js';
import { makePackage, makeWheel, put } from './fixtures.js';
import { ADDON, canBuild, content, makeSandbox, type Sandbox, why } from './sandbox.js';

let box: Sandbox;
beforeEach(async () => {
  box = await makeSandbox();
});
afterEach(() => {
  vi.unstubAllEnvs();
});

describe.skipIf(!canBuild)(`setup${why}`, () => {
  it('tries the official download, then takes the wheel, compiles, links and loads, once', async () => {
    const { changed, engine } = await setupEngine(box.options());
    expect(changed).toBe(true);
    expect(engine).toMatchObject({ state: 'ready', version: '2.21.7', variant: 'cpu', source: 'wheel' });
    expect(box.said[0]).toBe(`official: ${box.official} is not reachable from here (ECONNREFUSED)`);
    for (const name of ['libtensorflow_cc.so.2', 'libtensorflow_framework.so.2']) {
      expect(realpathSync(join(box.packageDir, 'deps/lib', name))).toBe(
        realpathSync(join(box.cacheDir, 'libtensorflow-2.21.7-cpu/tensorflow', name)),
      );
    }
    expect(await probeAddon(join(box.packageDir, ADDON))).toEqual({ version: '2.21.7', gpu: false });
    // Nothing unfinished is left in the cache, nor a temporary name in the package.
    expect(readdirSync(box.cacheDir)).toEqual(['libtensorflow-2.21.7-cpu']);
    expect(listFiles(box.packageDir).filter((path) => path.includes('tmp'))).toEqual([]);
    // The second time there is nothing to do.
    const before = lstatSync(join(box.packageDir, ADDON)).mtimeMs;
    box.said.length = 0;
    expect((await setupEngine(box.options())).changed).toBe(false);
    expect(box.said).toEqual([]);
    expect(lstatSync(join(box.packageDir, ADDON)).mtimeMs).toBe(before);
  });

  it('serves a second project from the cache without pip and without the compiler', async () => {
    await setupEngine(box.options());
    vi.stubEnv('PATH', join(box.root, 'nothing'));
    box.packageDir = makePackage(join(box.root, 'second'));
    box.said = [];
    expect((await setupEngine(box.options())).changed).toBe(true);
    expect(box.said).toEqual([`used the library in ${join(box.cacheDir, 'libtensorflow-2.21.7-cpu')}`]);
  });

  it('downloads once for two projects at the same time', async () => {
    const second = makePackage(join(box.root, 'second'));
    const both = await Promise.all([
      setupEngine(box.options()),
      setupEngine(box.options({ packageDir: second })),
    ]);
    expect(both.map(({ changed }) => changed)).toEqual([true, true]);
    expect(box.python.downloads()).toEqual(['tensorflow-cpu==2.21.*']);
  });

  it.each(['wheel file', 'folder'])('takes a %s, and keeps a copy', async (kind) => {
    let from = box.wheel;
    if (kind === 'folder') {
      from = join(box.root, 'mine');
      for (const [path, data] of Object.entries(content)) put(join(from, path), data);
    }
    expect((await setupEngine(box.options({ from }))).engine).toMatchObject({
      source: 'path',
      version: '2.21.7',
    });
    rmSync(from, { recursive: true });
    expect(await probeAddon(join(box.packageDir, ADDON))).toEqual({ version: '2.21.7', gpu: false });
    expect(box.python.downloads()).toEqual([]);
  });

  it('says that a library does not load, and leaves the package as it was', async () => {
    const spoilt = { ...content, 'tensorflow/libtensorflow_framework.so.2': 'not a library' };
    const bad = makeWheel(join(box.root, 'bad.whl'), spoilt, { name: 'tensorflow-cpu', version: '2.21.8' });
    const before = listFiles(box.packageDir);
    await expect(setupEngine(box.options({ from: bad }))).rejects.toThrow(
      /the engine does not load: .*libtensorflow_framework/,
    );
    expect(listFiles(box.packageDir)).toEqual(before);
  });

  it("leaves an engine alone that the package's own install script made", async () => {
    await setupEngine(box.options());
    rmSync(join(box.packageDir, 'deps/minillm.json'));
    expect((await setupEngine(box.options({ cacheDir: join(box.root, 'other') }))).engine).toMatchObject({
      source: 'own install script',
      version: '2.21.7',
    });
  });
});
