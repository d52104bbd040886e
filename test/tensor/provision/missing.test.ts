import { existsSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { RunError, UsageError } from '../../../src/errors.js';
import { ensureEngine, setupEngine } from '../../../src/tensor/provision/setup.js';
import { makeSandbox, type Sandbox } from './sandbox.js';

let box: Sandbox;
beforeEach(async () => {
  box = await makeSandbox();
});
afterEach(() => {
  vi.unstubAllEnvs();
});

describe('what is missing', () => {
  it('is named with the way to get it, before anything is fetched', async () => {
    vi.stubEnv('PATH', box.python.bin);
    vi.stubEnv('CXX', '');
    const error = await setupEngine(box.options()).catch((e: unknown) => e);
    expect(error).toBeInstanceOf(RunError);
    if (process.platform === 'linux')
      expect((error as Error).message).toMatch(
        /wheel: a C\+\+ compiler is missing \(Debian\/Ubuntu: apt-get install g\+\+/,
      );
    expect((error as Error).message).toMatch(/official: http:.*is not reachable from here/);
    expect((error as Error).message).toMatch(/wasm backend works without it/);
    expect((error as Error).message).not.toContain('\n');
    expect(box.python.downloads()).toEqual([]);
    expect(existsSync(join(box.packageDir, 'deps'))).toBe(false);
  });

  it('ends ensureEngine with one line and wasm, never an error', async () => {
    vi.stubEnv('PATH', join(box.root, 'nothing'));
    vi.stubEnv('CXX', '');
    expect(await ensureEngine(box.options())).toBe(false);
    expect(box.said.at(-1)).toMatch(/^native engine: .*; going on with wasm$/);
    expect(await ensureEngine(box.options({ packageDir: join(box.root, 'no such package') }))).toBe(false);
  });

  it('is left so with MINILLM_SKIP_SETUP=1', async () => {
    vi.stubEnv('MINILLM_SKIP_SETUP', '1');
    expect(await ensureEngine(box.options())).toBe(false);
    expect(box.said).toEqual([]);
    expect(existsSync(box.cacheDir)).toBe(false);
  });

  it('ensureEngine keeps to its time', async () => {
    expect(await ensureEngine({ ...box.options(), limitMs: 1 })).toBe(false);
    expect(box.said.at(-1)).toMatch(/going on with wasm/);
    expect(box.python.downloads()).toEqual([]);
  });

  it('a --from that is no path is a usage error', async () => {
    await expect(setupEngine(box.options({ from: 'whel' }))).rejects.toThrow(UsageError);
    await expect(setupEngine(box.options({ from: 'whel' }))).rejects.toThrow(
      /expected official, wheel, or the path/,
    );
    mkdirSync(join(box.root, 'empty'));
    const linux = process.platform === 'linux';
    await expect(setupEngine(box.options({ from: join(box.root, 'empty') }))).rejects.toThrow(
      linux ? UsageError : RunError,
    );
  });
});
