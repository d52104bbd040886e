import { cpSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { Rng } from '../../../src/random/streams.js';
import { pick } from './hostile.js';
import type { Mutant } from './mutate.js';
import type { World } from './world.js';

/** One damaged input, laid out, and what reads it. */
export interface Attack {
  how: string;
  /** Texts of which the one line must hold one: the file, its directory, a place. */
  names: readonly string[];
  run(): unknown;
  /** Puts back what was damaged. */
  restore?(): void;
}

/** A kind of input. */
export interface Target {
  name: string;
  /** How many of the cases are its, relative to the others. */
  weight: number;
  /** Once a process. @param place a directory of its own */
  open(world: World, place: string): Promise<(rng: Rng) => Attack> | ((rng: Rng) => Attack);
}

type Mutate = (bytes: Buffer, rng: Rng) => Mutant;

/** Files of a directory that is whole between cases. */
export class Folder {
  private readonly whole = new Map<string, Buffer>();

  /** A copy of `from` at `path`. */
  constructor(
    readonly path: string,
    from: string,
  ) {
    mkdirSync(dirname(path), { recursive: true });
    cpSync(from, path, { recursive: true });
    for (const name of this.names()) this.whole.set(name, readFileSync(join(path, name)));
  }

  has(name: string): boolean {
    return this.whole.has(name);
  }

  content(name: string): Buffer {
    return this.whole.get(name)!;
  }

  write(name: string, bytes: Uint8Array): void {
    mkdirSync(dirname(join(this.path, name)), { recursive: true });
    writeFileSync(join(this.path, name), bytes);
  }

  /** @param all looks at everything, for a reader that also writes there */
  restore(name: string, all = false): void {
    if (!all) {
      const bytes = this.whole.get(name);
      if (bytes) writeFileSync(join(this.path, name), bytes);
      else rmSync(join(this.path, name), { force: true });
      return;
    }
    const there = new Set(this.names());
    for (const found of there)
      if (!this.whole.has(found)) rmSync(join(this.path, found), { recursive: true });
    for (const [kept, bytes] of this.whole) {
      if (!there.has(kept) || !readFileSync(join(this.path, kept)).equals(bytes)) this.write(kept, bytes);
    }
  }

  private names(): string[] {
    return readdirSync(this.path, { recursive: true, encoding: 'utf8' }).filter((name) =>
      statSync(join(this.path, name)).isFile(),
    );
  }
}

/** A target whose damage is one file of a directory at a time, now and then two. */
export function filesOf(options: {
  name: string;
  weight: number;
  from: (world: World) => string;
  files: Record<string, Mutate>;
  /** What stands there before anything is damaged, beside what is copied. */
  prepare?: (directory: string, world: World) => void;
  /** The reader also writes there. */
  writes?: boolean;
  read: (directory: string, rng: Rng, world: World) => unknown;
}): Target {
  const { name, weight, from, files, prepare, writes = false, read } = options;
  return {
    name,
    weight,
    open(world, place) {
      const directory = join(place, 'it');
      cpSync(from(world), directory, { recursive: true });
      prepare?.(directory, world);
      const folder = new Folder(join(place, 'in'), directory);
      rmSync(directory, { recursive: true });
      const names = Object.keys(files);
      return (rng) => {
        const chosen = rng() < 0.92 ? [pick(rng, names)] : [pick(rng, names), pick(rng, names)];
        const how = [...new Set(chosen)].map((file) => {
          const mutant = files[file]!(folder.content(file), rng);
          folder.write(file, mutant.bytes);
          return `${file}: ${mutant.how}`;
        });
        return {
          how: how.join('; '),
          names: [folder.path],
          run: () => read(folder.path, rng, world),
          restore: () => {
            if (writes) folder.restore('', true);
            else for (const file of chosen) folder.restore(file);
          },
        };
      };
    },
  };
}
