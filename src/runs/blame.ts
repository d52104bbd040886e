import { UsageError } from '../errors.js';

/** Refuses a configuration in one line that begins with the field, or with what is wrong with all of it. */
export type Refuse = (line: string, field?: string) => never;

/** A field laid over a file, `a.b=value`, and what a message writes before it. */
interface Given {
  set: string;
  name: string;
}

/**
 * Refusals that name where the field was given: the last `--set` that reaches it, else one that the line speaks of, else the
 * file. A mistyped `--set train.lrr=1` is then not looked for in the YAML.
 *
 * @param given later ones stronger
 */
export function refuseFrom(file: string, given: readonly Given[] = []): Refuse {
  return (line, field = /^[\w.]*/.exec(line)![0]) => {
    const spoken = line.split(/[^\w.]+/);
    const guilty =
      given.findLast(({ set }) => reaches(keyOf(set), field)) ??
      given.findLast(({ set }) => spoken.includes(keyOf(set)));
    throw new UsageError(`${guilty ? guilty.name + guilty.set : file}: ${line}`);
  };
}

const keyOf = (set: string): string => set.slice(0, set.indexOf('='));

function reaches(key: string, field: string): boolean {
  return key === field || key.startsWith(`${field}.`) || field.startsWith(`${key}.`);
}
