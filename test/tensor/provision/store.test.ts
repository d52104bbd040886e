import { appendFileSync, existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeEach, describe, expect, it } from 'vitest';
import {
  type CacheEntry,
  listEntries,
  openEntry,
  publish,
  removeUnfinished,
  stagingFolder,
  verifyEntry,
} from '../../../src/tensor/provision/store.js';
import { put, temporaryFolder } from './fixtures.js';

const facts = { version: '2.21.0', variant: 'cpu', source: 'wheel' } as const;
let cache: string;
let entry: CacheEntry;

async function fill(text: string): Promise<CacheEntry> {
  const staging = stagingFolder(cache);
  put(join(staging, 'tensorflow', 'libtensorflow_cc.so.2'), text);
  put(join(staging, 'tensorflow', 'include', 'c.h'), 'header');
  return publish(cache, staging, facts);
}

beforeEach(async () => {
  cache = temporaryFolder();
  entry = await fill('abc');
});

describe('the cache', () => {
  it('publishes a folder under its final name with the checksums of its files', async () => {
    expect(readdirSync(cache)).toEqual(['libtensorflow-2.21.0-cpu']);
    expect(entry.manifest.files['tensorflow/libtensorflow_cc.so.2']).toEqual({
      // sha256("abc"), FIPS 180-2 appendix B.1
      sha256: 'ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad',
      bytes: 3,
    });
    expect(openEntry(entry.dir)).toEqual(entry);
    expect(await verifyEntry(entry)).toBeUndefined();
  });

  it('replaces what had the same name and leaves nothing beside it', async () => {
    await fill('newer');
    expect(readdirSync(cache)).toEqual(['libtensorflow-2.21.0-cpu']);
    expect(readFileSync(join(entry.dir, 'tensorflow/libtensorflow_cc.so.2'), 'utf8')).toBe('newer');
  });

  it('does not take a folder without a manifest for a good one', () => {
    const dir = join(cache, 'libtensorflow-2.20.0-cpu');
    put(join(dir, 'tensorflow', 'libtensorflow_cc.so.2'), 'put here by hand');
    expect(openEntry(dir)).toBe('has no manifest');
    expect(listEntries(cache).map(({ entry: found }) => typeof found)).toEqual(['object', 'string']); // 2.21 first
  });

  it('sees a missing, a shortened and a lengthened file at a glance', () => {
    const file = join(entry.dir, 'tensorflow/libtensorflow_cc.so.2');
    writeFileSync(file, 'ab');
    expect(openEntry(entry.dir)).toBe('holds 2 of the 3 bytes of tensorflow/libtensorflow_cc.so.2');
    appendFileSync(file, 'cd');
    expect(openEntry(entry.dir)).toMatch(/^holds 4 of the 3/);
    const none = join(cache, 'none');
    mkdirSync(none);
    writeFileSync(join(none, 'manifest.json'), JSON.stringify(entry.manifest));
    expect(openEntry(none)).toBe('lacks tensorflow/include/c.h');
  });

  it('sees a changed file of the same size by its checksum', async () => {
    writeFileSync(join(entry.dir, 'tensorflow/libtensorflow_cc.so.2'), 'abd');
    expect(typeof openEntry(entry.dir)).toBe('object');
    expect(await verifyEntry(entry)).toBe(
      'tensorflow/libtensorflow_cc.so.2 has another checksum than when it was stored',
    );
  });

  it.each<[string, (manifest: CacheEntry['manifest']) => unknown]>([
    ['no JSON', () => undefined],
    ['a list', () => []],
    ['another format', (m) => ({ ...m, format: 2 })],
    [
      'a path out of the folder',
      (m) => ({ ...m, files: { '../../etc/passwd': { sha256: '0'.repeat(64), bytes: 1 } } }),
    ],
    ['an absolute path', (m) => ({ ...m, files: { '/etc/passwd': { sha256: '0'.repeat(64), bytes: 1 } } })],
    ['a version that is a path', (m) => ({ ...m, version: '../x' })],
  ])('refuses a manifest that has %s', (_name, change) => {
    writeFileSync(join(entry.dir, 'manifest.json'), JSON.stringify(change(entry.manifest)) ?? 'oops');
    expect(openEntry(entry.dir)).toBe('has a damaged manifest');
  });

  it('refuses a library for another platform', () => {
    writeFileSync(
      join(entry.dir, 'manifest.json'),
      JSON.stringify({ ...entry.manifest, platform: 'plan9-vax' }),
    );
    expect(openEntry(entry.dir)).toBe('is for plan9-vax');
  });

  it('clears away what a killed set-up left, and nothing else', () => {
    const left = stagingFolder(cache);
    put(join(left, 'out', 'tensorflow', 'libtensorflow_cc.so.2'), 'half');
    mkdirSync(join(cache, 'trash-1-aa'));
    put(join(cache, 'notes.txt'), 'mine');
    removeUnfinished(cache);
    expect(existsSync(left)).toBe(false);
    expect(readdirSync(cache).sort()).toEqual(['libtensorflow-2.21.0-cpu', 'notes.txt']);
  });

  it('is empty where there is no folder', () => {
    expect(listEntries(join(cache, 'nowhere'))).toEqual([]);
  });
});
