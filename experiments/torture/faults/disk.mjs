// What a disk would hold after a loss of power, worst first: only what was synced is sure. Used by hook.mjs, inside the process
// that is about to die, on real files: bytes and names that were not synced are taken away again.
import fs from 'node:fs';
import { basename, dirname, join } from 'node:path';

const real = { ...fs };

/** A model of what is durable below a folder; `shadow` keeps what was replaced or removed. */
export function disk(shadow) {
  /** Bytes of a file that are durable, by path; absent: all of them (it was there before). */
  const synced = new Map();
  /** Changes of names in a directory since it was last synced, oldest first: how to undo each. */
  const pending = new Map();
  let kept = 0;

  const change = (path, undo) => {
    const directory = dirname(path);
    pending.set(directory, [...(pending.get(directory) ?? []), undo]);
  };
  const keep = (path) => {
    if (!real.existsSync(path)) return undefined;
    real.mkdirSync(shadow, { recursive: true });
    const copy = join(shadow, `${kept++}-${basename(path)}`);
    real.cpSync(path, copy, { recursive: true });
    return copy;
  };
  const restore = (copy, path) => {
    real.rmSync(path, { recursive: true, force: true });
    if (copy !== undefined && real.existsSync(dirname(path))) real.cpSync(copy, path, { recursive: true });
  };
  const renamed = (map, from, to) => {
    for (const [path, value] of [...map]) {
      if (path !== from && !path.startsWith(`${from}/`)) continue;
      map.delete(path);
      map.set(to + path.slice(from.length), value);
    }
  };

  return {
    /** Before the operation is done. */
    before({ op, path, to }) {
      if (op === 'rename') {
        const old = keep(to);
        change(to, () => {
          if (real.existsSync(to) && real.existsSync(dirname(path))) real.renameSync(to, path);
          restore(old, to);
        });
      } else if (op === 'rm') {
        const old = keep(path);
        if (old !== undefined) change(path, () => restore(old, path));
      } else if ((op === 'create' || op === 'mkdir') && !real.existsSync(path)) {
        change(path, () => real.rmSync(path, { recursive: true, force: true }));
        if (op === 'create') synced.set(path, 0);
      } else if (op === 'truncate') synced.set(path, 0);
      else if (op === 'write' && !synced.has(path)) synced.set(path, sizeOf(path));
    },
    /** After it was done. */
    after({ op, path, to }) {
      if (op === 'rename') for (const map of [synced, pending]) renamed(map, path, to);
      if (op === 'sync') {
        synced.set(path, sizeOf(path));
        pending.delete(path);
      }
    },
    /** @param random numbers in [0, 1) @returns how many files and names were lost */
    losePower(random) {
      let lost = 0;
      for (const [path, size] of synced) {
        if (!real.existsSync(path) || sizeOf(path) <= size) continue;
        lost++;
        const bytes = real.readFileSync(path);
        const form = random();
        // Gone; in part; or the length is there and the bytes are not.
        const end = form < 0.5 ? size : size + Math.floor(random() * (bytes.length - size));
        const left = form < 0.75 ? bytes.subarray(0, end) : bytes.fill(0, end);
        real.writeFileSync(path, left);
      }
      // A journal keeps the order within a directory: the last changes go first.
      for (const undos of pending.values()) {
        const gone = Math.ceil(random() * undos.length);
        for (const undo of undos.slice(undos.length - gone).reverse()) undo();
        lost += gone;
      }
      return lost;
    },
  };
}

function sizeOf(path) {
  return real.statSync(path, { throwIfNoEntry: false })?.size ?? 0;
}
