import fs from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';

/**
 * A disk that fails: from the operation of a given number on, everything that wants space below a folder fails with ENOSPC
 * (deleting and renaming still work), or everything that changes something with EROFS. On a full disk the write that meets the end
 * may first put a part of its bytes there, as real ones do. For this process only.
 *
 * The promises of \`fs\` do their work at once: the threads that they would wait for make a run take ten times as long on a busy machine.
 */

export type Kind = 'full' | 'full after half a write' | 'read-only';

const real = { ...fs };

let folder = '\0';
let at = Number.POSITIVE_INFINITY;
let kind: Kind = 'full';
let count = 0;
let last = '';
let writesAt: number[] = [];

/** Begins to count the operations below `root`, and to fail from number `from` on (1 is the first). */
export function failFrom(root: string, from: number, how: Kind): void {
  [folder, at, kind, count, last, writesAt] = [root, from, how, 0, '', []];
}

/** The disk is well again. @returns how many operations there were, which of them were writes, and the first that failed */
export function wellAgain(): { operations: number; writesAt: number[]; failed: string } {
  const seen = { operations: count, writesAt, failed: last };
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
  if (/write/i.test(operation)) writesAt.push(count);
  if (count < at) return false;
  if (count === at) last = `${operation} ${path.slice(folder.length)}`;
  return count === at && kind === 'full after half a write' && /write/i.test(operation) ? 'half' : 'wholly';
}

type Call = (...args: unknown[]) => unknown;

/** Replaces a function of the module, and its promise, by what may fail first. */
function replace(name: string, check: (args: unknown[]) => NodeJS.ErrnoException | undefined): void {
  const whole = real[`${name}Sync` as keyof typeof fs] as Call;
  const checked = (...args: unknown[]): unknown => {
    const error = check(args);
    if (error) throw error;
    return whole(...args);
  };
  Object.assign(fs, { [`${name}Sync`]: checked });
  Object.assign(fs.promises, { [name]: async (...args: unknown[]) => checked(...args) });
}

const changes =
  (name: string, wants: 'space' | 'change') =>
  ([path]: unknown[]): NodeJS.ErrnoException | undefined =>
    fails(name, path, wants) ? failure(name, String(path), true) : undefined;

for (const name of ['mkdir', 'appendFile', 'copyFile', 'symlink', 'link'])
  replace(name, changes(name, 'space'));
for (const name of ['rename', 'unlink', 'rmdir', 'truncate']) replace(name, changes(name, 'change'));
// Removing what is not there changes nothing.
replace('rm', ([path]) => (real.existsSync(String(path)) ? changes('rm', 'change')([path]) : undefined));
for (const name of ['readFile', 'stat', 'access', 'readdir']) replace(name, () => undefined);

/** As much of a write as the disk takes: all of it, or a half and then an error. @param withPath whether the error names the file */
function put<T>(path: unknown, data: T, withPath: boolean, write: (part: T) => void): void {
  const bad = fails('write', path, 'space');
  if (bad === 'half') write(halved(data));
  if (bad) throw failure('write', String(path), withPath);
  write(data);
}

function halved<T>(data: T): T {
  const whole = data as unknown as string & Uint8Array;
  return (
    typeof data === 'string' ? whole.slice(0, whole.length >> 1) : whole.subarray(0, whole.length >> 1)
  ) as T;
}

const writes = (flags: unknown): boolean => typeof flags === 'string' && /[wax+]/.test(flags);

function open(path: string, flags = 'r', mode?: number): number {
  if (writes(flags) && fails('open', path, 'space')) throw failure('open', path, true);
  const fd = real.openSync(path, flags, mode);
  paths.set(fd, path);
  return fd;
}

function close(fd: number): void {
  paths.delete(fd);
  real.closeSync(fd);
}

/** One system call: a disk that takes half of it says how much that was, and fails at the next. */
function write(fd: number, data: Uint8Array | string, from = 0, length?: number): number {
  const bytes = typeof data === 'string' ? Buffer.from(data) : data;
  const most = length ?? bytes.length - from;
  const bad = fails('write', paths.get(fd), 'space');
  if (bad === 'wholly') throw failure('write', '', false);
  return real.writeSync(fd, bytes, from, bad === 'half' ? most >> 1 : most);
}

function writeFile(file: string | number, data: string | Uint8Array, options?: fs.WriteFileOptions): void {
  const path = typeof file === 'number' ? paths.get(file) : file;
  put(path, data, typeof file === 'string', (part) => real.writeFileSync(file, part, options));
}

/** As much of a FileHandle as is used. */
class Handle {
  constructor(private readonly fd: number) {}
  async write(data: Uint8Array, from?: number, length?: number): Promise<{ bytesWritten: number }> {
    return { bytesWritten: write(this.fd, data, from, length) };
  }
  async writeFile(data: string | Uint8Array): Promise<void> {
    writeFile(this.fd, data);
  }
  async read(buffer: Uint8Array, from: number, length: number, position: number) {
    return { buffer, bytesRead: real.readSync(this.fd, buffer, from, length, position) };
  }
  async stat(): Promise<fs.Stats> {
    return real.fstatSync(this.fd);
  }
  async sync(): Promise<void> {
    real.fsyncSync(this.fd);
  }
  async close(): Promise<void> {
    close(this.fd);
  }
}

Object.assign(fs, { openSync: open, closeSync: close, writeSync: write, writeFileSync: writeFile });
Object.assign(fs.promises, {
  open: async (path: string, flags?: string, mode?: number) => new Handle(open(path, flags, mode)),
  writeFile: async (...args: Parameters<typeof writeFile>) => writeFile(...args),
});
syncBuiltinESMExports();
