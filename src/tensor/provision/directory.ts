import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { UsageError } from '../../errors.js';
import { type CacheEntry, copyWritable, LIBRARY_FOLDER, listFiles, publish, stagingFolder } from './store.js';

const LIBRARIES = ['libtensorflow_cc.so.2', 'libtensorflow_framework.so.2'];

/**
 * Takes a TensorFlow that the user built or unpacked: a folder with the two shared libraries and `include/`
 * (an installed Python package's `tensorflow` folder is one). It is copied into the cache, so that the folder may go
 * away later.
 */
export async function provisionFromDirectory(path: string, cacheDir: string): Promise<CacheEntry> {
  const dir = [path, join(path, LIBRARY_FOLDER)]
    .map((p) => resolve(p))
    .find((p) => existsSync(join(p, LIBRARIES[0]!)));
  const missing = [...LIBRARIES, 'include/tensorflow/c/c_api.h'].find(
    (file) => !dir || !existsSync(join(dir, file)),
  );
  if (!dir || missing) {
    throw new UsageError(
      `${path}: holds no ${missing}; expected ${LIBRARIES.join(', ')} and include/ (or a .whl file)`,
    );
  }
  const out = join(stagingFolder(cacheDir), 'out');
  const copy = (from: string, to: string): void => copyWritable(from, join(out, to));
  for (const file of LIBRARIES) copy(join(dir, file), `${LIBRARY_FOLDER}/${file}`);
  for (const part of [
    'tensorflow/c',
    'tensorflow/core/platform',
    'tensorflow/core/public',
    'tsl',
    'xla/tsl/c',
  ]) {
    const from = join(dir, 'include', part);
    if (!existsSync(from)) continue;
    for (const file of listFiles(from)) copy(join(from, file), `${LIBRARY_FOLDER}/include/${part}/${file}`);
  }
  return publish(cacheDir, out, { version: readVersion(dir), variant: 'cpu', source: 'path' });
}

/**
 * TensorFlow writes its version as three macros, in a header that moved in 2.19 and names no number since 2.20; there the Python
 * package's folder of metadata tells it, which lies beside an installed one.
 */
function readVersion(dir: string): string {
  for (const header of ['tensorflow/core/public/release_version.h', 'tensorflow/core/public/version.h']) {
    const file = join(dir, 'include', header);
    if (!existsSync(file)) continue;
    const text = readFileSync(file, 'utf8');
    const parts = ['MAJOR', 'MINOR', 'PATCH'].map(
      (part) => new RegExp(`#define TF_${part}_VERSION (\\d+)`).exec(text)?.[1],
    );
    if (parts.every((part) => part !== undefined)) return parts.join('.');
  }
  for (const folder of [dir, join(dir, '..')]) {
    const names = readdirSync(folder).sort();
    const version = names.flatMap((name) => /^tensorflow\w*-(\d[\w.]*)\.dist-info$/.exec(name)?.[1] ?? [])[0];
    if (version) return version;
  }
  throw new UsageError(
    `${dir}: names no TensorFlow version, neither in include/tensorflow/core/public/release_version.h nor by a folder tensorflow-….dist-info beside it`,
  );
}
