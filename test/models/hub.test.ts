import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { homedir, tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import { UsageError } from '../../src/errors.js';
import { fromPretrained } from '../../src/models/fromPretrained.js';
import { hubCache, resolveModel } from '../../src/models/hub.js';
import { initBackend } from '../../src/tensor/backend.js';
import { disposeParams } from '../../src/tensor/params.js';
import { runInProcess } from '../helpers/cli.js';
import { type HubServer, hubServer } from '../helpers/hubServer.js';
import { fixtureDir } from './fixtures.js';

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

const hubIsInstalled = await import('@huggingface/hub' as string).then(
  () => true,
  () => false,
);

describe('a model by name', () => {
  const main = cached('org/model', 'main', now);
  const tagged = cached('org/model', 'v1/rc', old);

  it('is the local directory where there is one, else the snapshot of the revision in the cache', async () => {
    expect(await resolveModel(root, { cacheDir })).toBe(root);
    expect(await resolveModel('org/model', { cacheDir })).toBe(main);
    expect(await resolveModel('org/model', { cacheDir, revision: 'v1/rc' })).toBe(tagged);
    expect(await resolveModel('org/model', { cacheDir, revision: old })).toBe(tagged);
    expect(await resolveModel('org/model@v1/rc', { cacheDir })).toBe(tagged);
    expect(await resolveModel('org/model@main', { cacheDir, revision: old })).toBe(tagged);
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
    expect(await failure('org/model@')).toMatch(/found/);
    expect(await failure('org/model@../x')).toMatch(/expected a branch, a tag or a commit/);
    if (!hubIsInstalled)
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
    expect(hubCache({ HUGGINGFACE_HUB_CACHE: '/g', HF_HOME: '/h' })).toBe('/g');
    expect(hubCache({ TRANSFORMERS_CACHE: '/t', HF_HOME: '/h' })).toBe('/t');
    expect(hubCache({ HF_HOME: '/h' })).toBe('/h/hub');
    expect(hubCache({ HF_HOME: '~/h' })).toBe(join(homedir(), 'h', 'hub'));
    expect(hubCache({ XDG_CACHE_HOME: '/x' })).toBe('/x/huggingface/hub');
    expect(hubCache({})).toMatch(/\.cache\/huggingface\/hub$/);
  });
});

describe.skipIf(!hubIsInstalled)('a download (skipped where @huggingface/hub is not installed)', () => {
  const source = join(root, 'source');
  const shards = ['model-00001-of-00002.safetensors', 'model-00002-of-00002.safetensors'];
  let server: HubServer;
  let gated: HubServer;
  beforeAll(async () => {
    await initBackend({ backend: 'cpu' });
    cpSync(`${fixtureDir}gpt2`, source, { recursive: true });
    for (const name of ['pytorch_model.bin', 'README.md', 'consolidated.safetensors', 'rust_model.ot'])
      writeFileSync(join(source, name), 'not wanted');
    server = await hubServer('org/model', source);
    gated = await hubServer('org/model', source, true);
  });
  afterAll(() => {
    server.close();
    gated.close();
  });
  afterEach(() => vi.unstubAllEnvs());

  const asked = { localFilesOnly: false, cacheDir: join(root, 'fresh') };

  it('puts the files of one commit into one snapshot, as huggingface_hub does, and only once', async () => {
    vi.stubEnv('HF_ENDPOINT', `${server.url}/`);
    const printed = vi.spyOn(process.stdout, 'write');
    const lines: string[] = [];
    const model = await fromPretrained('org/model', { ...asked, log: (line) => lines.push(line) });
    expect(model.config.vocabSize).toBe(59);
    disposeParams(model.params);
    expect(printed).not.toHaveBeenCalled(); // the library alone would print there
    printed.mockRestore();
    const wanted = ['config.json', 'generation_config.json', 'model.safetensors'];
    expect([...server.sent].sort()).toEqual(wanted);
    expect(lines.map((line) => line.split(/[ ,]+/)[1]).sort()).toEqual(wanted);
    const folder = join(asked.cacheDir, 'models--org--model');
    expect(readFileSync(join(folder, 'refs', 'main'), 'utf8')).toBe(server.commit);
    const snapshot = join(folder, 'snapshots', server.commit);
    // Now it is there, for everybody and without a network.
    vi.stubEnv('HF_HUB_OFFLINE', '1');
    expect(await resolveModel('org/model', asked)).toBe(snapshot);
    vi.stubEnv('HF_HUB_OFFLINE', '');
    expect(await resolveModel('org/model', { ...asked, revision: 'v1/rc' })).toBe(snapshot);
    expect(readFileSync(join(folder, 'refs', 'v1', 'rc'), 'utf8')).toBe(server.commit);
    expect(server.sent).toHaveLength(wanted.length);
  });

  it('goes on where one was broken off', async () => {
    vi.stubEnv('HF_ENDPOINT', server.url);
    const cacheDir = join(root, 'broken');
    const snapshot = await resolveModel('org/model', { ...asked, cacheDir });
    rmSync(join(snapshot, 'model.safetensors'));
    expect(await resolveModel('org/model', { cacheDir })).toBe(snapshot);
    expect(await resolveModel('org/model', { ...asked, cacheDir })).toBe(snapshot);
    expect(existsSync(join(snapshot, 'model.safetensors'))).toBe(true);
    rmSync(join(snapshot, 'model.safetensors'));
    const map = Object.fromEntries(shards.map((shard, i) => [`t${i}`, shard]));
    writeFileSync(join(snapshot, 'model.safetensors.index.json'), JSON.stringify({ weight_map: map }));
    writeFileSync(join(snapshot, shards[0]!), '');
    await resolveModel('org/model', { ...asked, cacheDir });
    expect(existsSync(join(snapshot, 'model.safetensors'))).toBe(true);
  });

  it('sends the token that was given, of the environment, or of the login', async () => {
    vi.stubEnv('HF_ENDPOINT', gated.url);
    const fails = { ...asked, cacheDir: join(root, 'gated') };
    vi.stubEnv('HF_HOME', join(root, 'nobody'));
    await expect(resolveModel('org/model', fails)).rejects.toThrow(
      /^org\/model: download failed: .*\(private or gated\? set HF_TOKEN\)$/,
    );
    mkdirSync(join(root, 'home'));
    writeFileSync(join(root, 'home', 'token'), 'hf_good\n');
    for (const [name, setUp] of [
      ['given', () => ({ token: 'hf_good' })],
      ['environment', () => void vi.stubEnv('HF_TOKEN', 'hf_good')],
      ['login', () => void vi.stubEnv('HF_HOME', join(root, 'home'))],
    ] as const) {
      const options = { ...asked, cacheDir: join(root, `gated-${name}`), ...setUp() };
      expect(await resolveModel('org/model', options), name).toContain('snapshots');
      vi.unstubAllEnvs();
      vi.stubEnv('HF_ENDPOINT', gated.url);
      vi.stubEnv('HF_HOME', join(root, 'nobody'));
    }
  });

  it('that fails is one line', async () => {
    vi.stubEnv('HF_ENDPOINT', server.url);
    await expect(resolveModel('org/none', asked)).rejects.toThrow(/^org\/none: download failed: [^\n]*$/);
    vi.stubEnv('HF_ENDPOINT', 'http://127.0.0.1:9');
    await expect(resolveModel('org/none', asked)).rejects.toThrow(/^org\/none: download failed: [^\n]*$/);
  });

  it('is asked for by --download; standard output has only the result', async () => {
    vi.stubEnv('HF_ENDPOINT', server.url);
    vi.stubEnv('HF_HUB_CACHE', join(root, 'by-flag'));
    const rows = join(root, 'rows.jsonl');
    writeFileSync(rows, '{"ids":[1,2,3]}\n');
    const score = ['score', '--model', 'org/model', '--input', rows, '--backend', 'cpu'];
    expect((await runInProcess(...score)).stderr).toMatch(/ask for a download \(--download\)/);
    const { code, stdout, stderr } = await runInProcess(...score, '--download');
    expect([code, stderr]).toEqual([0, expect.stringMatching(/org\/model: model\.safetensors, 0\.1 MB/)]);
    expect(JSON.parse(stdout).logprobs).toHaveLength(2);
  });
});
