import fs from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';

/**
 * A disk that fails: from the operation of a given number on, everything that wants space below a folder fails with ENOSPC
 * (deleting and renaming still work), or everything that changes something with EROFS. On a full disk the write that meets the end
 * may first put a part of its bytes there, as real ones do. For this process only.
 */

export type Kind = 'full' | 'full after half a write' | 'read-only';

const real = { ...fs };
const promises = { ...fs.promises };

let folder = '\0';
let at = Number.POSITIVE_INFINITY;
let kind: Kind = 'full';
let count = 0;
let last = '';

/** Begins to count the operations below `root`, and to fail from number `from` on (1 is the first). */
export function failFrom(root: string, from: number, how: Kind): void {
  [folder, at, kind, count] = [root, from, how, 0];
}

/** The disk is well again. @returns how many operations there were, and the first that failed */
export function wellAgain(): { operations: number; failed: string } {
  const seen = { operations: count, failed: last };
  [folder, at, last] = ['\0', Number.POSITIVE_INFINITY, ''];
  return seen;
}

const paths = new Map<number, string>();

function failure(operation: string, path: string, withPath: boolean): NodeJS.ErrnoException {
  const [code, text] =
    kind === 'read-only' ? ['EROFS', 'read-only file system'] : ['ENOSPC', 'no space left on device'];
  const where = withPath ? ` '${path}'` : '';
  return Object.assign(new Error(`${code}: ${text}, ${operation}${where}`), {
    ...{ code, errno: -1, syscall: operation },
    ...(withPath && { path }),
  });
}

/** Counts an operation; whether it fails. `half`: it is the first to fail, and is a write that may do a part. */
function fails(operation: string, path: unknown, wants: 'space' | 'change'): false | 'wholly' | 'half' {
  if (typeof path !== 'string' || !path.startsWith(folder)) return false;
  if (wants === 'space' || kind === 'read-only') count++;
  else return false;
  if (count < at) return false;
  if (count === at) last = `${operation} ${path.slice(folder.length)}`;
  return count === at && kind === 'full after half a write' && /write/.test(operation) ? 'half' : 'wholly';
}

type Call = (...args: never[]) => unknown;

/** Replaces a function of the module and its promise by ones that may fail. */
function replace(
  name: string,
  wants: 'space' | 'change',
  touches: (args: unknown[]) => boolean = () => true,
): void {
  const check = (args: unknown[]): NodeJS.ErrnoException | undefined =>
    touches(args) && fails(name, String(args[0]), wants) ? failure(name, String(args[0]), true) : undefined;
  const sync = `${name}Sync` as keyof typeof fs;
  const [oldSync, oldAsync] = [
    real[sync] as Call,
    promises[name as keyof typeof promises] as unknown as Call,
  ];
  Object.assign(fs, {
    [sync]: (...args: unknown[]) => {
      const error = check(args);
      if (error) throw error;
      return oldSync(...(args as never[]));
    },
  });
  Object.assign(fs.promises, {
    [name]: async (...args: unknown[]) => {
      const error = check(args);
      if (error) throw error;
      return oldAsync(...(args as never[]));
    },
  });
}

const opensToWrite = (args: unknown[]): boolean => typeof args[1] === 'string' && /[wax+]/.test(args[1]);
const halved = (data: string | Uint8Array): string | Uint8Array =>
  typeof data === 'string' ? data.slice(0, data.length >> 1) : data.subarray(0, data.byteLength >> 1);

for (const name of ['mkdir', 'appendFile', 'copyFile', 'symlink', 'link'] as const) replace(name, 'space');
for (const name of ['rename', 'rm', 'unlink', 'rmdir', 'truncate'] as const) replace(name, 'change');
// rm of what is not there changes nothing.
const deceivedRm = [fs.rmSync, fs.promises.rm] as const;
fs.rmSync = ((path: string, options) =>
  real.existsSync(path) ? deceivedRm[0](path, options) : undefined) as typeof fs.rmSync;
fs.promises.rm = (async (path: string, options) =>
  real.existsSync(path) ? deceivedRm[1](path, options) : undefined) as typeof fs.promises.rm;

fs.openSync = ((path: string, flags: string, mode: number) => {
  if (opensToWrite([path, flags]) && fails('open', path, 'space')) throw failure('open', path, true);
  const fd = real.openSync(path, flags, mode);
  paths.set(fd, path);
  return fd;
}) as typeof fs.openSync;
fs.closeSync = ((fd: number) => {
  paths.delete(fd);
  real.closeSync(fd);
}) as typeof fs.closeSync;
fs.writeSync = ((fd: number, data: Uint8Array, ...rest: never[]) => {
  const bad = fails('write', paths.get(fd), 'space');
  if (bad === 'half') return real.writeSync(fd, halved(data) as Uint8Array);
  if (bad) throw failure('write', '', false);
  return real.writeSync(fd, data, ...rest);
}) as typeof fs.writeSync;
fs.writeFileSync = ((file: string | number, data: string | Uint8Array, options) => {
  const path = typeof file === 'number' ? paths.get(file) : file;
  const bad = fails('write', path, 'space');
  if (bad === 'half') real.writeFileSync(file, halved(data), options);
  if (bad) throw failure('write', String(path), typeof file === 'string');
  real.writeFileSync(file, data, options);
}) as typeof fs.writeFileSync;
fs.promises.writeFile = (async (file: string, data: string | Uint8Array, options) => {
  const bad = fails('write', file, 'space');
  if (bad === 'half') await promises.writeFile(file, halved(data), options);
  if (bad) throw failure('write', file, false);
  await promises.writeFile(file, data, options);
}) as typeof fs.promises.writeFile;
fs.promises.open = (async (path: string, flags = 'r', mode) => {
  if (opensToWrite([path, flags]) && fails('open', path, 'space')) throw failure('open', path, true);
  const handle = await promises.open(path, flags, mode);
  const [write, writeFile] = [handle.write.bind(handle), handle.writeFile.bind(handle)];
  Object.assign(handle, {
    write: async (data: Uint8Array, from: number, length: number) => {
      const bad = fails('write', path, 'space');
      if (bad === 'half') return write(data, from, length >> 1);
      if (bad) throw failure('write', '', false);
      return write(data, from, length);
    },
    writeFile: async (data: string) => {
      const bad = fails('write', path, 'space');
      if (bad === 'half') await writeFile(halved(data));
      if (bad) throw failure('write', '', false);
      return writeFile(data);
    },
  });
  return handle;
}) as typeof fs.promises.open;
syncBuiltinESMExports();
