import {
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { RunError, UsageError } from '../../../src/errors.js';
import { probeAddon } from '../../../src/tensor/provision/install.js';
import { which } from '../../../src/tensor/provision/process.js';
import { packReady, setupEngine } from '../../../src/tensor/provision/setup.js';
import { listFiles } from '../../../src/tensor/provision/store.js';
import { makePackage, put } from './fixtures.js';
import { ADDON, canBuild, content, makeSandbox, type Sandbox, why } from './sandbox.js';

const tar = which('tar');
let box: Sandbox;
beforeEach(async () => {
  box = await makeSandbox();
});
afterEach(() => {
  vi.unstubAllEnvs();
});

/** Another machine: no cache, no compiler, nothing that could be fetched. */
function elsewhere(): void {
  const tools = join(box.root, 'tools');
  put(join(tools, 'tar'), `#!/bin/sh\nexec ${tar} "$@"\n`);
  chmodSync(join(tools, 'tar'), 0o755);
  vi.stubEnv('PATH', `${tools}:/usr/bin-of-gzip-only`);
  vi.stubEnv('CXX', '');
  box.packageDir = makePackage(join(box.root, 'elsewhere'));
  box.cacheDir = join(box.root, 'cache-elsewhere');
  box.said = [];
}

const ENTRY = 'libtensorflow-2.21.7-cpu';

describe.skipIf(!canBuild || !tar)(`an engine carried to a machine without a network${why}`, () => {
  it('one archive, one command; no compiler, no pip, no download there', async () => {
    const { engine } = await setupEngine(box.options());
    const archive = join(box.root, 'carried', 'engine.tar');
    await packReady(archive, engine);
    expect(readdirSync(join(box.root, 'carried'))).toEqual(['engine.tar']);
    const before = listFiles(join(box.cacheDir, ENTRY)).filter((name) => name !== 'manifest.json');
    elsewhere();
    const there = await setupEngine(box.options({ from: archive }));
    expect(there.engine).toMatchObject({ state: 'ready', version: '2.21.7', source: 'wheel' });
    rmSync(archive);
    expect(await probeAddon(join(box.packageDir, ADDON))).toEqual({ version: '2.21.7', gpu: false });
    expect(readdirSync(box.cacheDir)).toEqual([ENTRY]);
    expect(listFiles(join(box.cacheDir, ENTRY)).filter((name) => name !== 'manifest.json')).toEqual(before);
    // Whoever needs it next finds it ready, and a second project takes it from this cache.
    expect((await setupEngine(box.options())).changed).toBe(false);
    box.packageDir = makePackage(join(box.root, 'second'));
    expect((await setupEngine(box.options())).changed).toBe(true);
    expect(box.python.downloads()).toHaveLength(1);
  });

  it.each(['the folder of the library', 'the whole cache'])(
    'takes %s as it lies in a cache, read-only too',
    async (what) => {
      await setupEngine(box.options());
      const cache = box.cacheDir;
      for (const name of listFiles(cache)) chmodSync(join(cache, name), 0o444);
      elsewhere();
      const from = what === 'the whole cache' ? cache : join(cache, ENTRY);
      expect((await setupEngine(box.options({ from }))).engine.version).toBe('2.21.7');
      for (const name of listFiles(box.cacheDir))
        expect(statSync(join(box.cacheDir, name)).mode & 0o200, name).toBe(0o200);
    },
  );

  it('what was damaged on the way, is of another machine, or is no engine is refused in a line', async () => {
    const { engine } = await setupEngine(box.options());
    const entry = join(box.cacheDir, ENTRY);
    const refused = async (from: string, more = {}): Promise<string> => {
      const error = await setupEngine(box.options({ from, ...more })).catch((e: unknown) => e);
      expect(error).toBeInstanceOf(Error);
      expect((error as Error).message).not.toContain('\n');
      return (error as Error).message;
    };
    await expect(packReady(join(box.root, 'engine.zip'), engine)).rejects.toThrow(UsageError);
    const torn = join(box.root, 'torn.tar');
    await packReady(torn, engine);
    writeFileSync(torn, readFileSync(torn).subarray(0, 20_000));
    const library = join(entry, 'tensorflow/libtensorflow_cc.so.2');
    const bytes = readFileSync(library);
    bytes[100]! ^= 1;
    writeFileSync(library, bytes);
    elsewhere();
    expect(await refused(entry)).toMatch(
      /libtensorflow_cc\.so\.2 has another checksum .*; carry it over again$/,
    );
    expect(await refused(entry, { gpu: true })).toBeTruthy();
    expect(await refused(torn)).toMatch(/torn\.tar/);
    const manifest = join(entry, 'manifest.json');
    writeFileSync(
      manifest,
      readFileSync(manifest, 'utf8').replace(/"platform": "[^"]*"/, '"platform": "plan9-mips"'),
    );
    expect(await refused(entry)).toContain(`${ENTRY} is for plan9-mips`);
    mkdirSync(join(box.root, 'empty'));
    expect(await refused(join(box.root, 'empty'))).toContain('holds no libtensorflow_cc.so.2');
    expect(existsSync(join(box.packageDir, 'deps'))).toBe(false);
    expect(readdirSync(box.cacheDir)).toEqual([]);
  });

  it('an engine that the package made by itself is not ours to pack', async () => {
    const engine = {
      state: 'ready',
      detail: 'TensorFlow 2.9.1, installed by the package itself',
      version: '2.9.1',
      variant: undefined,
      source: 'own install script',
    } as const;
    await expect(packReady(join(box.root, 'engine.tar'), engine)).rejects.toThrow(RunError);
  });
});

describe.skipIf(!canBuild)(`the folder of an installed TensorFlow${why}`, () => {
  it('whose headers name no version (2.20 and later): the folder of its metadata does; read-only files stay writable here', async () => {
    const from = join(box.root, 'site-packages', 'tensorflow');
    for (const [path, data] of Object.entries(content)) {
      if (!path.endsWith('release_version.h')) put(join(box.root, 'site-packages', path), data);
    }
    for (const name of listFiles(from)) chmodSync(join(from, name), 0o444);
    await expect(setupEngine(box.options({ from }))).rejects.toThrow(/names no TensorFlow version/);
    put(join(box.root, 'site-packages', 'tensorflow_cpu-2.21.7.dist-info', 'METADATA'), '');
    expect((await setupEngine(box.options({ from }))).engine).toMatchObject({
      version: '2.21.7',
      source: 'path',
    });
    for (const name of listFiles(box.cacheDir))
      expect(statSync(join(box.cacheDir, name)).mode & 0o200, name).toBe(0o200);
  });
});
