// Preloaded into a run (`node --import`): sees every operation on files below a folder, in order, and ends the process by
// SIGKILL at the one that is asked for. The environment variable TORTURE_HOOK says what, as JSON:
//
//   root    folder whose files count (and files beside it that begin with its hidden name)
//   trace   file for the list of operations, written at the end
//   at      number of the operation to die at, from 1
//   how     before | after | torn (half of a write) | power (what was not synced is lost)
//   seed    of what is lost; shadow: a folder for what may come back
//   killed  file for a line that says where it died
import fs from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import { isAbsolute, resolve } from 'node:path';
import { disk } from './disk.mjs';

const asked = JSON.parse(process.env.TORTURE_HOOK ?? '{}');
const real = { ...fs };
const realPromises = { ...fs.promises };
const operations = [];
const paths = new Map();
const model = asked.how === 'power' ? disk(asked.shadow) : undefined;

let randomState = asked.seed ?? 1;
const random = () => {
  randomState = (Math.imul(randomState, 1664525) + 1013904223) >>> 0;
  return randomState / 2 ** 32;
};

const isOurs = (path) =>
  typeof path === 'string' && path.startsWith(asked.root) && !path.startsWith(asked.shadow ?? '\0');
const absolute = (path) => (typeof path === 'string' ? (isAbsolute(path) ? path : resolve(path)) : path);

function die(operation) {
  const lost = model?.losePower(random);
  real.writeFileSync(asked.killed, JSON.stringify({ ...operation, how: asked.how, lost }));
  process.kill(process.pid, 'SIGKILL');
  for (;;); // the signal is under way
}

/** @returns whether the process dies in the middle of this one */
function begin(operation) {
  if (!isOurs(operation.path)) return false;
  operations.push(operation);
  const last = operations.length === asked.at;
  if (last && (asked.how === 'before' || asked.how === 'power')) die(operation);
  model?.before(operation);
  // At another operation than a write there is nothing to tear: the next write is.
  return asked.how === 'torn' && operation.op === 'write' && operations.length >= asked.at;
}

function end(operation, error) {
  if (!isOurs(operation.path)) return;
  if (error) operation.failed = error.code;
  else model?.after(operation);
  if (asked.how === 'after' && operations[asked.at - 1] === operation) die(operation);
}

const half = (data) =>
  typeof data === 'string' ? data.slice(0, data.length >> 1) : data.subarray(0, data.length >> 1);

/** Does an operation with its bookkeeping; `torn` does half of it. */
function through(operation, whole, torn) {
  if (begin(operation)) {
    const done = torn();
    if (!(done instanceof Promise)) die(operation);
    return done.then(() => die(operation));
  }
  const ended = (error) => {
    end(operation, error);
    throw error;
  };
  let done;
  try {
    done = whole();
  } catch (error) {
    ended(error);
  }
  if (!(done instanceof Promise)) {
    end(operation);
    return done;
  }
  return done.then((value) => {
    end(operation);
    return value;
  }, ended);
}

/** What opening with these flags does to a file. */
const opening = (path, flags = 'r') => {
  if (typeof flags !== 'string' || flags.startsWith('r')) return undefined;
  if (!real.existsSync(path)) return { op: 'create', path };
  return flags.startsWith('w') ? { op: 'truncate', path } : undefined;
};

const none = () => undefined;

for (const [name, op] of [
  ['renameSync', 'rename'],
  ['rename', 'rename'],
  ['rmSync', 'rm'],
  ['rm', 'rm'],
  ['unlinkSync', 'rm'],
  ['mkdirSync', 'mkdir'],
  ['mkdir', 'mkdir'],
  ['linkSync', 'link'],
]) {
  const target = name.endsWith('Sync') ? fs : fs.promises;
  const original = target[name];
  target[name] = (first, second, ...rest) => {
    const [path, to] = [absolute(first), absolute(second)];
    // A link is a new name for what is there: seen as one that is made.
    const operation =
      op === 'link' ? { op: 'create', path: to } : { op, path, ...(op === 'rename' && { to }) };
    const call = () => original.call(target, first, second, ...rest);
    return op === 'mkdir' && real.existsSync(path) ? call() : through(operation, call, none);
  };
}

fs.openSync = (path, flags, ...rest) => {
  const at = absolute(path);
  const operation = opening(at, flags);
  const open = () => real.openSync(path, flags, ...rest);
  const fd = operation ? through(operation, open, none) : open();
  paths.set(fd, at);
  return fd;
};
fs.closeSync = (fd) => {
  paths.delete(fd);
  return real.closeSync(fd);
};
fs.fsyncSync = (fd) => through({ op: 'sync', path: paths.get(fd) }, () => real.fsyncSync(fd), none);
fs.writeSync = (fd, data, ...rest) =>
  through(
    { op: 'write', path: paths.get(fd) },
    () => real.writeSync(fd, data, ...rest),
    () => real.writeSync(fd, half(data)),
  );
for (const name of ['writeFileSync', 'appendFileSync']) {
  fs[name] = (file, data, ...rest) => {
    const at = typeof file === 'number' ? paths.get(file) : absolute(file);
    const flags = rest[0]?.flag ?? (name === 'writeFileSync' ? 'w' : 'a');
    const opened = typeof file === 'number' ? undefined : opening(at, flags);
    const write = (some) => real[name](file, some, ...rest);
    if (opened && isOurs(at)) {
      begin(opened);
      if (asked.how === 'after' && operations.length === asked.at) {
        write('');
        die(opened);
      }
    }
    return through(
      { op: 'write', path: at },
      () => write(data),
      () => write(half(data)),
    );
  };
}

fs.promises.open = async (path, flags, ...rest) => {
  const at = absolute(path);
  const operation = opening(at, flags);
  const open = () => realPromises.open(path, flags, ...rest);
  const handle = await (operation ? through(operation, open, none) : open());
  for (const [name, op] of [
    ['write', 'write'],
    ['writeFile', 'write'],
    ['appendFile', 'write'],
    ['sync', 'sync'],
  ]) {
    const original = handle[name].bind(handle);
    handle[name] = (data, ...more) =>
      through(
        { op, path: at },
        () => original(data, ...more),
        () => original(half(data)),
      );
  }
  return handle;
};
for (const name of ['writeFile', 'appendFile']) {
  fs.promises[name] = async (path, data, options) => {
    if (typeof path !== 'string') return realPromises[name](path, data, options);
    const handle = await fs.promises.open(path, options?.flag ?? (name === 'writeFile' ? 'w' : 'a'));
    try {
      await handle.writeFile(data);
    } finally {
      await handle.close();
    }
  };
}
syncBuiltinESMExports();

if (asked.trace) process.on('exit', () => real.writeFileSync(asked.trace, JSON.stringify(operations)));
