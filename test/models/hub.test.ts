import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { UsageError } from '../../src/errors.js';
import { hubCache, resolveModel } from '../../src/models/hub.js';

const root = mkdtempSync(join(tmpdir(), 'minillm-hub-'));
afterAll(() => rmSync(root, { recursive: true }));
const cacheDir = join(root, 'cache');
const [old, now] = ['a'.repeat(40), 'b'.repeat(40)];

/** As huggingface_hub leaves it: refs name commits, a snapshot holds the files. */
function cached(id: string, revision: string, commit: string): string {
  const at = join(cacheDir, `models--${id.replace('/', '--')}`);
  const snapshot = join(at, 'snapshots', commit);
  mkdirSync(snapshot, { recursive: true });
  writeFileSync(join(snapshot, 'config.json'), '{}');
  const ref = join(at, 'refs', revision);
  mkdirSync(join(ref, '..'), { recursive: true });
  writeFileSync(ref, commit);
  return snapshot;
}

describe('a model by name', () => {
  const main = cached('org/model', 'main', now);
  const tagged = cached('org/model', 'v1/rc', old);

  it('is the local directory where there is one, else the snapshot of the revision in the cache', async () => {
    expect(await resolveModel(root, { cacheDir })).toBe(root);
    expect(await resolveModel('org/model', { cacheDir })).toBe(main);
    expect(await resolveModel('org/model', { cacheDir, revision: 'v1/rc' })).toBe(tagged);
    expect(await resolveModel('org/model', { cacheDir, revision: old })).toBe(tagged);
    expect(await resolveModel('gpt2', { cacheDir: join(cached('gpt2', 'main', old), '../../..') })).toContain(
      'models--gpt2',
    );
  });

  it('that is nowhere is one line: where was looked, how to get it; no network unless asked', async () => {
    const failure = (id: string, options = {}): Promise<string> =>
      resolveModel(id, { cacheDir, ...options }).then(
        () => 'found',
        (error: unknown) => (error instanceof UsageError ? error.message : String(error)),
      );
    expect(await failure('org/other')).toBe(
      `org/other: no such model directory, and no revision main of it in ${cacheDir}; ask for a download (--download) or give a directory`,
    );
    expect(await failure('org/model', { revision: 'dev' })).toMatch(/no revision dev of it/);
    expect(await failure('./some/where')).toBe('./some/where: no such model directory');
    expect(await failure('a/../b')).toBe('a/../b: no such model directory');
    expect(await failure('org/model', { revision: '../../x' })).toMatch(
      /expected a branch, a tag or a commit/,
    );
    process.env.HF_HUB_OFFLINE = '1';
    expect(await failure('org/other', { localFilesOnly: false })).toMatch(/HF_HUB_OFFLINE forbids/);
    delete process.env.HF_HUB_OFFLINE;
    expect(await failure('org/other', { localFilesOnly: false })).toMatch(
      /needs the package @huggingface\/hub; npm install/,
    );
  });

  it('a ref that leads out of the cache is not followed', async () => {
    const at = join(cacheDir, 'models--evil', 'refs');
    mkdirSync(at, { recursive: true });
    writeFileSync(join(at, 'main'), '../../../../etc');
    await expect(resolveModel('evil', { cacheDir })).rejects.toThrow(/no revision main/);
  });

  it('the cache is where huggingface_hub has it', () => {
    expect(hubCache({ HF_HUB_CACHE: '/c', HF_HOME: '/h' })).toBe('/c');
    expect(hubCache({ HF_HOME: '/h' })).toBe('/h/hub');
    expect(hubCache({ XDG_CACHE_HOME: '/x' })).toBe('/x/huggingface/hub');
    expect(hubCache({})).toMatch(/\.cache\/huggingface\/hub$/);
  });
});
