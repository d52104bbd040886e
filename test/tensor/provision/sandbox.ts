import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { delimiter, join } from 'node:path';
import { vi } from 'vitest';
import { type EngineState, inspectEngine } from '../../../src/tensor/provision/install.js';
import type { SetupOptions } from '../../../src/tensor/provision/setup.js';
import { compiler, makePackage, makePython, makeWheel, temporaryFolder, tinyTensorflow } from './fixtures.js';

/** Whether the whole way can be tried here, with a "TensorFlow" of two one-line libraries that are linked and loaded. */
export const canBuild = compiler !== undefined && process.platform === 'linux';
export const why = canBuild ? '' : ' [skipped: no C++ compiler on Linux here]';

export const ADDON = 'lib/napi-v8/tfjs_binding.node';
export const content = canBuild ? tinyTensorflow('2.21.7') : {};

export interface Sandbox {
  root: string;
  cacheDir: string;
  packageDir: string;
  wheel: string;
  python: ReturnType<typeof makePython>;
  /** The address of the official download, where nobody answers. */
  official: string;
  said: string[];
  options(more?: SetupOptions): SetupOptions;
  inspect(): Promise<EngineState>;
}

/** A project, a cache and a pip of their own; nothing of this machine's network. Call vi.unstubAllEnvs afterwards. */
export async function makeSandbox(): Promise<Sandbox> {
  const root = temporaryFolder();
  const wheel = makeWheel(join(root, 'tensorflow_cpu-2.21.7-x.whl'), content, {
    name: 'tensorflow-cpu',
    version: '2.21.7',
  });
  const box: Sandbox = {
    root,
    cacheDir: join(root, 'cache'),
    packageDir: makePackage(join(root, 'project')),
    wheel,
    python: makePython(root, { 'tensorflow-cpu': wheel }),
    official: `http://127.0.0.1:${await closedPort()}/`,
    said: [],
    options: (more = {}) => ({
      packageDir: box.packageDir,
      cacheDir: box.cacheDir,
      say: (line) => void box.said.push(line),
      ...more,
    }),
    inspect: () => inspectEngine({ name: 'x', dir: box.packageDir }, box.cacheDir),
  };
  vi.stubEnv('PATH', `${box.python.bin}${delimiter}${process.env.PATH}`);
  vi.stubEnv('TFJS_NODE_BASE_URI', box.official);
  const others = ['HTTPS_PROXY', 'https_proxy', 'HTTP_PROXY', 'http_proxy', 'MINILLM_SKIP_SETUP'];
  for (const name of others) vi.stubEnv(name, '');
  return box;
}

async function closedPort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((ready) => server.listen(0, '127.0.0.1', ready));
  const { port } = server.address() as AddressInfo;
  await new Promise((closed) => server.close(closed));
  return port;
}
