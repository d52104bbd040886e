import { existsSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import * as tf from '@tensorflow/tfjs-core';
import { RunError, UsageError } from '../../../errors.js';
import { withLock } from '../../provision/lock.js';
import { cudaNote, defaultCacheDir } from '../../provision/paths.js';
import { removeUnfinished } from '../../provision/store.js';
import { addonPath, buildAddon } from './buildAddon.js';
import { type CardsThere, cardsThere, cudaVersion, whyNotUsable } from './cards.js';
import { fetchLibrary, removeDamagedLibraries } from './fetchLibrary.js';
import {
  type CudaLibraries,
  chooseLibraries,
  type FoundLibrary,
  findLibraries,
  librariesOf,
  libraryNames,
} from './libraries.js';
import { loadCuda } from './loadCuda.js';
import { type ChosenLibraries, type Note, readNote, writeNote } from './note.js';

export interface CudaSetupOptions {
  /** `wheel`: fetched in any case; a path: a folder with the libraries; default: those that are there, fetched where they are not. */
  from?: string | undefined;
  say?: (line: string) => void;
}

export interface CudaSetup extends Note {
  /** False when there was nothing to do. */
  changed: boolean;
  addon: string;
  /** Why nothing was tried, where no card is here. */
  no_card: string | null;
  seconds: number;
}

/**
 * Makes the CUDA engine complete: the addon compiled, NVRTC and cublasLt found or fetched, and, where a card is here, a small
 * computation on it. Then it is noted in the cache, and a card is the first choice from then on. Does nothing when all is there.
 *
 * @throws RunError in one line: no compiler, a library that is neither found nor fetched, a card that does not compute
 */
export async function setupCuda(options: CudaSetupOptions = {}): Promise<CudaSetup> {
  const started = performance.now();
  const { from, say = () => {} } = options;
  checkPlatform();
  if (from !== undefined && from !== 'wheel' && !(existsSync(from) && statSync(from).isDirectory())) {
    throw new UsageError(
      `--from ${from}: with --gpu it is wheel, or a folder with libnvrtc.so.12 or .13 and libcublasLt.so.12 or .13`,
    );
  }
  const done = (changed: boolean, note: Note, noCard: string | undefined): CudaSetup => ({
    changed,
    ...note,
    addon: addonPath('cuda'),
    no_card: noCard ?? null,
    seconds: (performance.now() - started) / 1000,
  });
  return withLock(join(defaultCacheDir(), 'setup.lock'), say, async () => {
    if (!existsSync(addonPath('cuda'))) say('compiling the addon');
    await buildAddon('cuda', new Map());
    const there = cardsThere();
    const why = typeof there === 'string' ? { what: there, mend: '' } : whyNotUsable(there);
    if (typeof there !== 'string' && there.cards.length > 0 && why)
      throw new RunError(`${why.what} (${why.mend})`);
    const noCard = why?.what;
    const name = nameOf(there);
    const before = readNote();
    if (from === undefined && before && (noCard || before.tried === name)) return done(false, before, noCard);
    try {
      const driver = typeof there === 'string' ? undefined : there.driver;
      await removeDamagedLibraries(say);
      const { nvrtc, cublasLt } = await libraries(from, driver, say);
      const chosen = { nvrtc: nvrtc.path, cublasLt: cublasLt.path };
      // Not the first choice until it has computed.
      rmSync(cudaNote(), { force: true });
      if (!noCard) await compute(chosen, name!);
      const note = {
        ...chosen,
        from: { nvrtc: nvrtc.from, cublasLt: cublasLt.from },
        tried: noCard ? null : name,
      };
      writeNote(note);
      return done(true, note, noCard);
    } finally {
      removeUnfinished(defaultCacheDir());
    }
  });
}

function checkPlatform(): void {
  if (process.platform !== 'linux' || (process.arch !== 'x64' && process.arch !== 'arm64'))
    throw new RunError(
      `the CUDA engine needs Linux on x86-64 or 64-bit Arm, this is ${process.platform} ${process.arch}`,
    );
}

function nameOf(there: CardsThere | string): string | null {
  if (typeof there === 'string' || there.cards.length === 0) return null;
  return `${there.cards[0]!.name}, CUDA ${cudaVersion(there.driver)}`;
}

async function libraries(
  from: string | undefined,
  driver: number | undefined,
  say: (line: string) => void,
): Promise<Record<'nvrtc' | 'cublasLt', FoundLibrary>> {
  const nothing: CudaLibraries = { nvrtc: [], cublasLt: [] };
  const found =
    from === undefined ? await findLibraries() : from === 'wheel' ? nothing : librariesOf(from, from);
  const chosen = chooseLibraries(found, driver);
  // Without a card nobody knows what the driver will be; every driver since CUDA 12 serves 12.
  const major = driver !== undefined && driver >= 13_000 ? 13 : 12;
  for (const name of libraryNames) {
    if (chosen[name]) say(`lib${name}: ${chosen[name].path} (${chosen[name].from})`);
    else if (from !== undefined && from !== 'wheel')
      throw new UsageError(`${from}: holds no lib${name}.so.12${major === 13 ? ' or .13' : ''}`);
    else {
      const work = { cacheDir: defaultCacheDir(), say };
      chosen[name] = await fetchLibrary(name, major, work);
    }
  }
  return chosen as Record<'nvrtc' | 'cublasLt', FoundLibrary>;
}

/** A product by cublasLt and two kernels by NVRTC, against what they must give. */
async function compute(chosen: ChosenLibraries, card: string): Promise<void> {
  try {
    await loadCuda({ precision: 'float32', libraries: chosen });
    const size = 96;
    const x = (i: number, j: number) => ((i * 7 + j * 3) % 11) - 5;
    const expected = Array.from({ length: size * size }, (_, at) => {
      let sum = 1;
      for (let k = 0; k < size; k++) sum += x(Math.floor(at / size), k) * x(k, at % size);
      return sum;
    });
    const given = tf.tidy(() => {
      const a = tf.tensor2d(
        Array.from({ length: size * size }, (_, at) => x(Math.floor(at / size), at % size)),
        [size, size],
      );
      return tf.add(tf.matMul(a, a), tf.ones([size, size])).dataSync();
    });
    // Whole numbers below 2^24: float32 is exact.
    const wrong = expected.findIndex((value, at) => given[at] !== value);
    if (wrong >= 0) throw new Error(`a product is wrong: ${given[wrong]} where ${expected[wrong]} is right`);
  } catch (error) {
    throw new RunError(`${card} is here but does not compute: ${(error as Error).message.split('\n')[0]}`);
  }
}
