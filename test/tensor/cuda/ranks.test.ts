import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { beforeAll, describe, expect, it } from 'vitest';
import { compiledProgram } from '../../helpers/compiled.js';
import { temporaryFolder } from '../../helpers/temporary.js';
import { BUILTINS, canFake, fakeLibrary, whyNot } from './fakeDriver.js';

const root = temporaryFolder('cuda-ranks');
const opened = join(compiledProgram, '../../tensor/engines/cuda/openDevice.js');
const libraries = {
  nvrtc: join(root, 'libnvrtc.so.13'),
  cublasLt: join(root, 'libcublasLt.so.13'),
};
const script = `
  const { openCuda } = await import(${JSON.stringify(opened)});
  console.log((await openCuda({ libraries: ${JSON.stringify(libraries)} })).info.name);
`;

/** The name of the card that a process opens. */
async function card(cards: number, env: Record<string, string>): Promise<string> {
  const own = { ...process.env, LD_LIBRARY_PATH: root, FAKE_CARDS: String(cards), ...env };
  const args = ['--input-type=module', '-e', script];
  return (await promisify(execFile)(process.execPath, args, { env: own })).stdout.trim();
}

const rank = (localRank: number): Record<string, string> => ({
  OMPI_COMM_WORLD_SIZE: '8',
  OMPI_COMM_WORLD_RANK: String(4 + localRank),
  OMPI_COMM_WORLD_LOCAL_RANK: String(localRank),
});

describe.skipIf(!canFake)(`the card of one of several processes${whyNot}`, () => {
  beforeAll(() => {
    fakeLibrary(root, 'libcuda.so.1');
    fakeLibrary(root, BUILTINS);
    fakeLibrary(root, 'libnvrtc.so', 'libnvrtc.so.13');
    fakeLibrary(root, 'libcublasLt.so', 'libcublasLt.so.13');
  });

  it.each([
    ['by itself: the first', 4, {}, 'Pretended H200'],
    ['its own', 4, rank(3), 'Pretended H200 #3'],
    ['the next again where there are more processes than cards', 2, rank(3), 'Pretended H200 #1'],
    // As with CUDA_VISIBLE_DEVICES of one card.
    ['the only one', 1, rank(3), 'Pretended H200'],
  ])('%s', async (_, cards, env, name) => expect(await card(cards, env)).toBe(name));
});
