import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, realpathSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { publish, syncFile } from '../durable.js';
import { RunError } from '../errors.js';
import { withLock } from '../tensor/provision/lock.js';
import { defaultCacheDir, nodeApiHeaders } from '../tensor/provision/paths.js';
import { run, which } from '../tensor/provision/process.js';
import { stagingFolder } from '../tensor/provision/store.js';
import { INCLUDE, libraryName, type MpiNote, mpiCache, SOURCE, sourcesKey, writeMpiNote } from './addon.js';

const FLAGS = ['-std=c++17', '-O2', '-fPIC', '-shared', '-pthread'];
// MPI's own C++ functions, which MPI-3 has not any more.
const MACROS = ['-DOMPI_SKIP_MPICXX', '-DMPICH_SKIP_MPICXX'];

export interface MpiSetup extends MpiNote {
  /** False when there was nothing to do. */
  changed: boolean;
  seconds: number;
}

/** $MPICXX, else the mpicxx on the PATH. */
export const findMpicxx = (): string | undefined => which(process.env.MPICXX || 'mpicxx');

/**
 * Builds the addon for the MPI whose `mpicxx` is there, and notes it as the one to use. One that was built of the same sources by
 * the same `mpicxx` is taken from the cache when it still loads.
 *
 * @throws RunError in one line: no mpicxx, or it does not compile, or what it made does not load
 */
export async function setupMpi({ say = () => {} }: { say?: (line: string) => void } = {}): Promise<MpiSetup> {
  const started = performance.now();
  const mpicxx = findMpicxx();
  if (!mpicxx) {
    const asked = process.env.MPICXX
      ? `$MPICXX is ${process.env.MPICXX}, which is not there`
      : 'no mpicxx on the PATH';
    throw new RunError(
      `${asked}; it comes with an MPI for development (Debian/Ubuntu: apt-get install openmpi-bin libopenmpi-dev; on a cluster: module load openmpi or mpich)`,
    );
  }
  const headers = nodeApiHeaders();
  if (!headers)
    throw new RunError('the npm package node-api-headers is missing (npm install node-api-headers)');
  return withLock(join(defaultCacheDir(), 'setup.lock'), say, async () => {
    const target = join(mpiCache(), 'addons', await keyOf(mpicxx), 'mpi.node');
    let library = existsSync(target) ? await libraryOf(target) : undefined;
    const changed = !library?.name;
    if (!library?.name) {
      say(`compiling the addon with ${mpicxx}`);
      await compile(mpicxx, headers.include, target);
      library = await libraryOf(target);
      if (!library.name) {
        rmSync(dirname(target), { recursive: true, force: true });
        throw new RunError(`what ${mpicxx} made does not load: ${library.why}`);
      }
    }
    const note = { addon: target, sources: sourcesKey(), library: library.name, mpicxx };
    writeMpiNote(note);
    return { changed, ...note, seconds: (performance.now() - started) / 1000 };
  });
}

/** Of the sources, and of everything that says which compiler and which MPI this is. */
async function keyOf(mpicxx: string): Promise<string> {
  const hash = createHash('sha256').update(`${sourcesKey()}\n${FLAGS}\n${MACROS}\n${realpathSync(mpicxx)}\n`);
  // Open MPI's; MPICH's -v; what both run; the compiler.
  for (const question of ['--showme:version', '-v', '-show', '--version']) {
    const { status, stdout, stderr } = await run(mpicxx, [question], { timeoutMs: 20_000 });
    hash.update(`${status}\n${stdout}\n${stderr}\n`);
  }
  return hash.digest('hex').slice(0, 32);
}

async function compile(mpicxx: string, headers: string, target: string): Promise<void> {
  const staging = stagingFolder(defaultCacheDir());
  try {
    const built = join(staging, 'mpi.node');
    const includes = [`-I${INCLUDE}`, `-I${headers}`];
    const args = [...FLAGS, ...MACROS, ...includes, SOURCE, '-o', built, '-ldl'];
    const { status, stderr, trouble } = await run(mpicxx, args, { timeoutMs: 5 * 60_000 });
    if (status !== 0) {
      const said = stderr.split('\n').find((line) => /error/i.test(line)) ?? stderr.slice(0, 300);
      throw new RunError(`mpi.cc does not compile with ${mpicxx}: ${trouble ?? said}`);
    }
    mkdirSync(dirname(target), { recursive: true });
    syncFile(built);
    publish(built, target);
  } finally {
    rmSync(staging, { recursive: true, force: true });
  }
}

/** Which MPI an addon loads. Asked in another process: a setup does not need MPI in its own. */
async function libraryOf(addon: string): Promise<{ name?: string; why?: string }> {
  const script = 'process.stdout.write(require(process.argv[1]).library())';
  const { status, stdout, stderr, trouble } = await run(process.execPath, ['-e', script, addon], {
    timeoutMs: 60_000,
  });
  if (status === 0) return { name: libraryName(stdout) };
  return { why: stderr.split('\n').find((line) => /^Error/.test(line)) ?? trouble ?? `status ${status}` };
}
