import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { setupEngine } from '../../../src/tensor/provision/setup.js';
import { listFiles } from '../../../src/tensor/provision/store.js';
import { makePackage } from './fixtures.js';
import { canBuild, makeSandbox, type Sandbox, why } from './sandbox.js';

let box: Sandbox;
beforeEach(async () => {
  box = await makeSandbox();
});
afterEach(() => {
  vi.unstubAllEnvs();
});

describe.skipIf(!canBuild)(`the official download${why}`, () => {
  /** An install script that puts in place what the wheel's way made before. */
  const script = (from: string) => `
const fs = require('node:fs'), path = require('node:path');
fs.writeFileSync('package.json', '{}');
fs.rmSync('deps', { recursive: true, force: true });
for (const dir of ['deps', 'lib']) fs.cpSync(path.join(${JSON.stringify(from)}, dir), dir, { recursive: true, dereference: true });
fs.writeFileSync('deps/lib/asked.txt', process.argv.slice(2).join(' '));
`;
  let close: () => void;
  beforeEach(async () => {
    const server = createServer((_request, response) => void response.writeHead(404).end());
    await new Promise<void>((ready) => server.listen(0, '127.0.0.1', ready));
    vi.stubEnv(
      'TFJS_NODE_BASE_URI',
      `http://127.0.0.1:${(server.address() as AddressInfo).port}/libtensorflow-`,
    );
    close = () => void server.close();
  });
  afterEach(() => close());

  it('is the first choice where the host answers, and serves the next project too', async () => {
    await setupEngine(box.options({ from: 'wheel' }));
    const made = box.packageDir;
    box.packageDir = makePackage(join(box.root, 'second'), script(made));
    box.cacheDir = join(box.root, 'cache2');
    const before = readFileSync(join(box.packageDir, 'package.json'), 'utf8');
    expect((await setupEngine(box.options())).engine).toMatchObject({
      source: 'official',
      version: '2.21.7',
    });
    expect(readFileSync(join(box.packageDir, 'package.json'), 'utf8')).toBe(before);
    expect(readFileSync(join(box.cacheDir, 'libtensorflow-2.21.7-cpu/tensorflow/asked.txt'), 'utf8')).toBe(
      'cpu download',
    );
    expect(box.python.downloads()).toHaveLength(1); // for the first package only
    box.packageDir = makePackage(join(box.root, 'third'), 'process.exit(1)');
    expect((await setupEngine(box.options({ from: 'official' }))).engine.source).toBe('official');
  });

  it('that fails half-way leaves the package as it was, and the wheel is taken', async () => {
    box.packageDir = makePackage(
      join(box.root, 'second'),
      "require('node:fs').rmSync('package.json'); console.error('Error: 404'); process.exit(3)",
    );
    const before = listFiles(box.packageDir);
    await expect(setupEngine(box.options({ from: 'official' }))).rejects.toThrow(
      /official: the install script failed: Error: 404/,
    );
    expect(listFiles(box.packageDir)).toEqual(before);
    expect((await setupEngine(box.options())).engine.source).toBe('wheel');
  });
});
