import { basename, join } from 'node:path';
import { UsageError } from '../../errors.js';
import { findPip, pipDownload, type Work } from './pip.js';
import { type CacheEntry, LIBRARY_FOLDER, publish, stagingFolder } from './store.js';
import { readMetadata, unpackWanted } from './wheelFile.js';

/**
 * TensorFlow's C library out of the Python wheel: the wheel holds the same libtensorflow that the C API
 * headers beside it describe, does not need Python to run, and is current where the npm package's own
 * download stopped at 2.9.1. pip fetches it, so that the user's index, mirror and proxy settings apply.
 */
const WHEEL_SERIES = '2.21.*';

/** Whether a cached version is of the series that would be downloaded today. */
export function isCurrentSeries(version: string): boolean {
  return version.startsWith(WHEEL_SERIES.replace('*', ''));
}

/** Of 13000 files in the wheel the addon's sources reach these. */
const WANTED = [
  /^tensorflow\/libtensorflow_(cc|framework)\.so\.2$/,
  /^tensorflow\/include\/(tensorflow\/c|tensorflow\/core\/(platform|public)|tsl|xla\/tsl\/c)\/.*\.(h|inc)$/,
];
/** Downloads the wheel with pip and publishes the library in the cache. */
export async function provisionFromPip(work: Work): Promise<CacheEntry> {
  const python = await findPip();
  const staging = stagingFolder(work.cacheDir);
  // On 64-bit Arm the plain wheel is the CPU one.
  const names = process.arch === 'arm64' ? ['tensorflow-cpu', 'tensorflow'] : ['tensorflow-cpu'];
  let wheel: string | undefined;
  let failure: unknown;
  for (const name of names) {
    try {
      wheel = await pipDownload(python, `${name}==${WHEEL_SERIES}`, join(staging, 'downloads'), work);
      break;
    } catch (error) {
      failure = error;
    }
  }
  if (wheel === undefined) throw failure;
  return unpack(wheel, 'wheel', join(staging, 'out'), work);
}

/** Publishes the library of a wheel file that the user has. */
export async function provisionFromWheelFile(wheel: string, work: Work): Promise<CacheEntry> {
  return unpack(wheel, 'path', join(stagingFolder(work.cacheDir), 'out'), work);
}

async function unpack(wheel: string, source: 'wheel' | 'path', out: string, work: Work): Promise<CacheEntry> {
  const { name, version } = await readMetadata(wheel);
  if (!/^tensorflow([-_](cpu|aarch64|cpu[-_]aws))?$/.test(name)) {
    throw new UsageError(`${wheel}: is a wheel of ${name}; expected one of tensorflow or tensorflow-cpu`);
  }
  work.say(`unpacking ${basename(wheel)}`);
  const known = await unpackWanted(wheel, WANTED, out);
  for (const library of ['libtensorflow_cc.so.2', 'libtensorflow_framework.so.2']) {
    if (!known[`${LIBRARY_FOLDER}/${library}`])
      throw new UsageError(
        `${wheel}: holds no tensorflow/${library}; expected a Linux wheel of TensorFlow 2`,
      );
  }
  return publish(work.cacheDir, out, { version, variant: 'cpu', source }, known);
}
