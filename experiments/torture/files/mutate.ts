import { integer, type Rng } from '../../../src/random/streams.js';
import { fragments, numbers, pick, rawValue, strings } from './hostile.js';

/** A damaged content, and how it was damaged. */
export interface Mutant {
  bytes: Buffer;
  how: string;
}

type Step = (bytes: Buffer, rng: Rng) => Buffer;

const at = (bytes: Buffer, rng: Rng): number => integer(rng, bytes.length + 1);
/** Short stretches mostly, sometimes long ones. */
const stretch = (bytes: Buffer, rng: Rng): [number, number] => {
  const from = integer(rng, bytes.length + 1);
  const most = rng() < 0.8 ? 16 : bytes.length;
  return [from, Math.min(bytes.length, from + integer(rng, most + 1))];
};
const insert = (bytes: Buffer, place: number, what: Uint8Array): Buffer =>
  Buffer.concat([bytes.subarray(0, place), what, bytes.subarray(place)]);

/** What may happen to any bytes. */
const byteSteps: Record<string, Step> = {
  'bit flip': (bytes, rng) => {
    const flipped = Buffer.from(bytes);
    for (let n = 1 + integer(rng, 3); n > 0 && bytes.length > 0; n--)
      flipped[integer(rng, bytes.length)]! ^= 1 << integer(rng, 8);
    return flipped;
  },
  'other byte': (bytes, rng) => {
    const changed = Buffer.from(bytes);
    if (bytes.length > 0) changed[integer(rng, bytes.length)] = integer(rng, 256);
    return changed;
  },
  truncated: (bytes, rng) => bytes.subarray(0, at(bytes, rng)),
  'front lost': (bytes, rng) => bytes.subarray(at(bytes, rng)),
  deleted: (bytes, rng) => {
    const [from, to] = stretch(bytes, rng);
    return Buffer.concat([bytes.subarray(0, from), bytes.subarray(to)]);
  },
  duplicated: (bytes, rng) => {
    const [from, to] = stretch(bytes, rng);
    return insert(bytes, to, bytes.subarray(from, to));
  },
  spliced: (bytes, rng) => {
    const [from, to] = stretch(bytes, rng);
    return insert(bytes, at(bytes, rng), bytes.subarray(from, to));
  },
  fragment: (bytes, rng) => insert(bytes, at(bytes, rng), pick(rng, fragments)),
  zeroed: (bytes, rng) => Buffer.from(bytes).fill(0, ...stretch(bytes, rng)),
};

/** What may happen to text beside that. */
const textSteps: Record<string, Step> = {
  number: (bytes, rng) => replaceOne(bytes, rng, /-?\d+(\.\d+)?(e[+-]?\d+)?/g, () => pick(rng, numbers)),
  word: (bytes, rng) => replaceOne(bytes, rng, /[\p{L}_]+/gu, () => pick(rng, strings)),
  'lines swapped': (bytes, rng) => {
    const lines = bytes.toString('latin1').split('\n');
    const [a, b] = [integer(rng, lines.length), integer(rng, lines.length)];
    [lines[a], lines[b]] = [lines[b]!, lines[a]!];
    return Buffer.from(lines.join('\n'), 'latin1');
  },
  'line repeated': (bytes, rng) => {
    const lines = bytes.toString('latin1').split('\n');
    const line = integer(rng, lines.length);
    lines.splice(line, 0, ...Array<string>(1 + integer(rng, 20)).fill(lines[line]!));
    return Buffer.from(lines.join('\n'), 'latin1');
  },
  'line lost': (bytes, rng) => {
    const lines = bytes.toString('latin1').split('\n');
    lines.splice(integer(rng, lines.length), 1);
    return Buffer.from(lines.join('\n'), 'latin1');
  },
  'line ends': (bytes) => Buffer.from(bytes.toString('latin1').replaceAll('\n', '\r\n'), 'latin1'),
};

function replaceOne(bytes: Buffer, rng: Rng, pattern: RegExp, by: () => string): Buffer {
  const text = bytes.toString('utf8');
  const found = [...text.matchAll(pattern)];
  if (found.length === 0) return bytes;
  const { index, 0: old } = pick(rng, found);
  return Buffer.from(text.slice(0, index) + by() + text.slice(index + old.length));
}

/** One to four of the steps one after the other. */
function bySteps(bytes: Buffer, rng: Rng, steps: Record<string, Step>): Mutant {
  const names = Object.keys(steps);
  const how: string[] = [];
  let now = bytes;
  do {
    const name = pick(rng, names);
    now = steps[name]!(now, rng);
    how.push(name);
  } while (how.length < 4 && rng() < 0.35);
  return { bytes: now, how: how.join(', ') };
}

export const mutateBytes = (bytes: Buffer, rng: Rng): Mutant => bySteps(bytes, rng, byteSteps);
export const mutateText = (bytes: Buffer, rng: Rng): Mutant =>
  bySteps(bytes, rng, { ...byteSteps, ...textSteps });

/** JSON whose values are changed as a tree (mostly), or as text. */
export function mutateJson(bytes: Buffer, rng: Rng): Mutant {
  if (rng() < 0.25) return mutateText(bytes, rng);
  const { text, how } = mutateTree(JSON.parse(bytes.toString('utf8')), rng);
  return { bytes: Buffer.from(text), how };
}

/** JSONL: one line as a tree, or the whole as text. */
export function mutateJsonl(bytes: Buffer, rng: Rng): Mutant {
  if (rng() < 0.3) return mutateText(bytes, rng);
  const lines = bytes.toString('utf8').split('\n');
  const line = integer(rng, lines.length - 1);
  const { text, how } = mutateTree(JSON.parse(lines[line]!), rng);
  lines[line] = text;
  return { bytes: Buffer.from(lines.join('\n')), how: `line ${line + 1}: ${how}` };
}

type Tree = { [key: string]: unknown };

/** A place in a tree: `holder[key]`. */
interface Place {
  holder: Tree;
  key: string;
}

/** A JSON text that stands in the tree until it is written. */
class Raw {
  constructor(readonly text: string) {}
}

/** One to four changes of values, keys and structure. @returns JSON text, sometimes invalid on purpose */
export function mutateTree(value: unknown, rng: Rng): { text: string; how: string } {
  const root: Tree = { root: copy(value) };
  const how: string[] = [];
  do {
    const places = placesOf(root);
    // Big vocabularies would take all the attention: the few places near the root get half of it.
    const near = places.filter(({ depth }) => depth <= 2);
    how.push(change(pick(rng, rng() < 0.5 ? near : places), places, rng));
  } while (how.length < 4 && rng() < 0.35);
  return { text: write(root.root), how: how.join(', ') };
}

function placesOf(root: Tree): (Place & { depth: number })[] {
  const places: (Place & { depth: number })[] = [];
  const visit = (holder: Tree, depth: number): void => {
    for (const key of Object.keys(holder)) {
      places.push({ holder, key, depth });
      const value = holder[key];
      if (typeof value === 'object' && value !== null && !(value instanceof Raw) && depth < 12)
        visit(value as Tree, depth + 1);
    }
  };
  visit(root, 0);
  return places;
}

function change({ holder, key }: Place, places: readonly Place[], rng: Rng): string {
  const value = holder[key];
  const list = Array.isArray(holder);
  const roll = rng();
  if (roll < 0.3) {
    holder[key] = new Raw(rawValue(rng));
    return `${key} replaced`;
  }
  if (roll < 0.4) {
    if (list) (holder as unknown as unknown[]).splice(Number(key), 1);
    else if (key !== 'root') delete holder[key];
    return `${key} lost`;
  }
  if (roll < 0.5 && !list && key !== 'root') {
    delete holder[key];
    put(holder, pick(rng, strings), value);
    return `${key} renamed`;
  }
  if (roll < 0.6 && typeof value === 'object' && value !== null && !(value instanceof Raw)) {
    if (Array.isArray(value)) value.splice(integer(rng, value.length + 1), 0, new Raw(rawValue(rng)));
    else put(value as Tree, pick(rng, strings), new Raw(rawValue(rng)));
    return `more in ${key}`;
  }
  if (roll < 0.7 && typeof value === 'number') {
    const change = pick(rng, [
      (x: number) => -x,
      (x: number) => x + 1,
      (x: number) => x - 1,
      (x: number) => x * 2 ** 31,
      (x: number) => x + 0.5,
      (x: number) => x * 1000,
    ]);
    holder[key] = change(value);
    return `${key} shifted`;
  }
  if (roll < 0.8) {
    const other = pick(rng, places);
    holder[key] = copy(other.holder[other.key]);
    return `${key} from ${other.key}`;
  }
  if (roll < 0.9 && typeof value === 'string') {
    const cut = integer(rng, value.length + 1);
    holder[key] = value.slice(0, cut) + pick(rng, strings) + value.slice(cut);
    return `${key} spoiled`;
  }
  if (Array.isArray(value) && value.length > 0) {
    const from = integer(rng, value.length);
    if (rng() < 0.5) value.splice(from);
    else value.push(...value.slice(from).map(copy));
    return `${key} of another length`;
  }
  const other = pick(rng, places);
  [holder[key], other.holder[other.key]] = [copy(other.holder[other.key]), copy(value)];
  return `${key} and ${other.key} swapped`;
}

const copy = (value: unknown): unknown =>
  value instanceof Raw || typeof value !== 'object' || value === null
    ? value
    : Array.isArray(value)
      ? value.map(copy)
      : Object.fromEntries(Object.entries(value).map(([k, v]) => [k, copy(v)]));

/** Even for `__proto__`. */
function put(holder: Tree, key: string, value: unknown): void {
  Object.defineProperty(holder, key, { value, enumerable: true, writable: true, configurable: true });
}

function write(value: unknown): string {
  if (value instanceof Raw) return value.text;
  if (Array.isArray(value)) return `[${value.map(write).join(',')}]`;
  if (typeof value === 'object' && value !== null) {
    return `{${Object.keys(value)
      .map((key) => `${JSON.stringify(key)}:${write((value as Tree)[key])}`)
      .join(',')}}`;
  }
  return JSON.stringify(value) ?? 'null';
}
