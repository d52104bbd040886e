import { cpSync, mkdirSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { addonFor, addonKey, compilerProblem } from '../../../src/tensor/provision/addon.js';
import { inspectEngine, placeEngine } from '../../../src/tensor/provision/install.js';
import { defaultCacheDir, installedEnginePackages } from '../../../src/tensor/provision/paths.js';
import { type CacheEntry, listEntries, stagingFolder } from '../../../src/tensor/provision/store.js';
import { makePackage, put, temporaryFolder } from './fixtures.js';

const real = listEntries(defaultCacheDir()).flatMap(({ entry }) =>
  typeof entry === 'object' && entry.manifest.source !== 'official' ? entry : [],
)[0];
const pkg = installedEnginePackages()[0];
const missing = !real
  ? 'no TensorFlow library in the cache'
  : !pkg
    ? 'no native package installed'
    : compilerProblem();

describe('the real addon', () => {
  it(`compiles against the cached TensorFlow and loads${missing ? ` [skipped: ${missing}]` : ''}`, {
    timeout: 120_000,
  }, async (ctx) => {
    if (missing) return ctx.skip(missing);
    const root = temporaryFolder();
    const cacheDir = join(root, 'cache');
    // The library as it is; the compiled addon goes elsewhere than into the real cache.
    const entry: CacheEntry = { dir: join(cacheDir, 'libtensorflow-test-cpu'), manifest: real!.manifest };
    mkdirSync(entry.dir, { recursive: true });
    symlinkSync(join(real!.dir, 'tensorflow'), join(entry.dir, 'tensorflow'));
    put(join(entry.dir, 'manifest.json'), JSON.stringify(real!.manifest));
    const copy = { name: pkg!.name, dir: join(root, 'tfjs-node-gpu') };
    cpSync(join(pkg!.dir, 'binding'), join(copy.dir, 'binding'), { recursive: true });
    const said: string[] = [];
    const work = { cacheDir, say: (line: string) => void said.push(line) };
    const addon = await addonFor(copy, entry, work);
    await placeEngine(copy, entry, addon, stagingFolder(cacheDir));
    expect(await inspectEngine(copy, cacheDir)).toMatchObject({
      state: 'ready',
      version: real!.manifest.version,
    });
    said.length = 0;
    expect(await addonFor(copy, entry, work)).toBe(addon); // kept, not compiled again
    expect(said).toEqual([]);
  });
});

describe('the key of a compiled addon', () => {
  const entry = (sha256: string): CacheEntry => ({
    dir: '/nowhere',
    manifest: {
      format: 1,
      version: '2.21.0',
      variant: 'cpu',
      source: 'wheel',
      platform: 'x',
      files: { 'tensorflow/libtensorflow_cc.so.2': { sha256, bytes: 1 } },
    },
  });

  it('changes with the sources and with the library, and with nothing else', () => {
    const [one, two] = [makePackage(temporaryFolder()), makePackage(temporaryFolder())].map((dir) => ({
      name: 'x',
      dir,
    }));
    const key = addonKey(one!, entry('a'));
    expect(key).toMatch(/^[0-9a-f]{16}$/);
    expect(addonKey(two!, entry('a'))).toBe(key);
    expect(addonKey(one!, entry('b'))).not.toBe(key);
    put(join(two!.dir, 'binding', 'utils.h'), '// new');
    expect(addonKey(two!, entry('a'))).not.toBe(key);
  });
});
