import { existsSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { RunError } from '../../../src/errors.js';
import { findPip } from '../../../src/tensor/provision/pip.js';
import {
  isCurrentSeries,
  provisionFromPip,
  provisionFromWheelFile,
} from '../../../src/tensor/provision/wheel.js';
import { makePython, makeWheel, temporaryFolder } from './fixtures.js';

const files = {
  'tensorflow/libtensorflow_cc.so.2': 'cc',
  'tensorflow/libtensorflow_framework.so.2': 'framework',
  'tensorflow/include/tensorflow/c/c_api.h': 'header',
  'tensorflow/include/xla/tsl/c/tsl_status.h': 'header too',
  'tensorflow/include/external/boringssl/x.h': 'not wanted',
  'tensorflow/python/big.so': 'not wanted',
};
const cpu = { name: 'tensorflow-cpu', version: '2.21.3' };

let root: string;
let cacheDir: string;
let said: string[];
const work = () => ({ cacheDir, say: (line: string) => void said.push(line) });
const wheel = (
  overrides: Partial<Parameters<typeof makeWheel>[2]> = {},
  content: Record<string, string> = files,
) => makeWheel(join(root, 'tensorflow.whl'), content, { ...cpu, ...overrides });

beforeEach(() => {
  root = temporaryFolder();
  cacheDir = join(root, 'cache');
  said = [];
});
afterEach(() => {
  vi.unstubAllEnvs();
});

describe('a wheel file', () => {
  it('gives the two libraries and the headers of the C interface, nothing else', async () => {
    const { dir, manifest } = await provisionFromWheelFile(wheel(), work());
    expect(dir).toBe(join(cacheDir, 'libtensorflow-2.21.3-cpu'));
    expect(Object.keys(manifest.files)).toEqual([
      'tensorflow/include/tensorflow/c/c_api.h',
      'tensorflow/include/xla/tsl/c/tsl_status.h',
      'tensorflow/libtensorflow_cc.so.2',
      'tensorflow/libtensorflow_framework.so.2',
    ]);
    expect(manifest).toMatchObject({ version: '2.21.3', variant: 'cpu', source: 'path' });
  });

  it('is checked against its own RECORD', async () => {
    const spoilt = wheel({ recorded: { 'tensorflow/libtensorflow_cc.so.2': 'what it was before' } });
    await expect(provisionFromWheelFile(spoilt, work())).rejects.toThrow(
      /libtensorflow_cc\.so\.2 does not have the checksum/,
    );
    expect(existsSync(join(cacheDir, 'libtensorflow-2.21.3-cpu'))).toBe(false);
  });

  it.each([
    ['of another project', { name: 'numpy' }, files, /is a wheel of numpy/],
    [
      'without the library',
      {},
      { 'tensorflow/libtensorflow_framework.so.2': 'x' },
      /holds no tensorflow\/libtensorflow_cc\.so\.2/,
    ],
    ['whose version is a path', { version: '../../x' }, files, /./],
  ])('%s is refused', async (_name, facts, content, message) => {
    await expect(
      provisionFromWheelFile(wheel(facts, content as Record<string, string>), work()),
    ).rejects.toThrow(message);
    expect(existsSync(join(cacheDir, 'libtensorflow-2.21.3-cpu'))).toBe(false);
  });
});

describe('pip', () => {
  const usePython = (wheels?: Record<string, string>) => {
    const python = makePython(root, wheels);
    vi.stubEnv('PATH', `${python.bin}${delimiter}${process.env.PATH}`);
    return python;
  };

  it('fetches the current series for any Python, warnings notwithstanding', async () => {
    const python = usePython({ 'tensorflow-cpu': wheel() });
    const { manifest } = await provisionFromPip(work());
    expect(manifest).toMatchObject({ version: '2.21.3', source: 'wheel' });
    expect(isCurrentSeries(manifest.version)).toBe(true);
    expect(python.downloads()).toEqual(['tensorflow-cpu==2.21.*']);
    expect(said[0]).toBe('downloading tensorflow-cpu==2.21.* with pip');
  });

  it('that finds nothing is quoted in one line', async () => {
    usePython({});
    const error = await provisionFromPip(work()).catch((e: unknown) => e);
    expect(error).toBeInstanceOf(RunError);
    expect((error as Error).message).toMatch(
      /^pip could not fetch tensorflow(-cpu)?==2\.21\.\*: No matching distribution found .*index reachable/,
    );
  });

  it('or Python may be missing: says which, and how to get it', async () => {
    vi.stubEnv('PATH', join(root, 'nothing'));
    await expect(findPip()).rejects.toThrow(/^python3 is missing \(Debian\/Ubuntu: apt-get install/);
    vi.stubEnv('PATH', makePython(root).bin);
    await expect(findPip()).rejects.toThrow(/^pip is missing \(.*python3 -m ensurepip/);
  });
});
