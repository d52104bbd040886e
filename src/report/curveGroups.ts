import { flatten } from './configuration.js';
import type { Entry } from './entries.js';
import { joined } from './headline.js';

/** Which entries share a panel of learning curves. */

/** Whether any run of the entry logged the quantity. */
export function logs(entry: Entry, name: string): boolean {
  return entry.runs.some((run) => run.logged.some((row) => row.values[name] !== undefined));
}

const length = (entry: Entry): number =>
  Math.max(...entry.runs.flatMap((run) => run.logged.slice(-1).map(({ step }) => step)));

/** Apart where one is more than twice as long as another: 200 steps beside 1,000 are a fifth of the width. In their order. */
export function byLength(entries: readonly Entry[]): Entry[][] {
  const groups: Entry[][] = [];
  for (const entry of [...entries].sort((a, b) => length(a) - length(b))) {
    const last = groups.at(-1);
    if (last && length(entry) <= 2 * length(last[0]!)) last.push(entry);
    else groups.push([entry]);
  }
  return groups.map((group) => entries.filter((entry) => group.includes(entry)));
}

/** How a panel of some of the entries is told apart from the others: by its models, or by their steps. */
export function nameOf(group: readonly Entry[]): { file: string; words: string } {
  const labels = group.map(({ label }) => label);
  const steps = Math.max(...group.map(length));
  return {
    file: `-${steps}-steps`,
    words: group.length < 2 ? `, ${joined(labels)}` : `, ${steps} steps`,
  };
}

/** Those whose own losses are one quantity: of the same method with the same fields of it and the same teacher. */
export function byObjective(entries: readonly Entry[]): Entry[][] {
  const groups = new Map<string, Entry[]>();
  for (const entry of entries) {
    const { method, config } = entry;
    const own = [...flatten(config)].filter(([field]) =>
      [method, 'objective', 'pretrain', 'teacher'].includes(field.split('.')[0]!),
    );
    const key = JSON.stringify([method, own]);
    groups.set(key, [...(groups.get(key) ?? []), entry]);
  }
  return [...groups.values()];
}

/** A label as part of a file name. */
export function slug(label: string): string {
  return label.toLowerCase().replace(/[^a-z0-9]+/g, '-');
}
