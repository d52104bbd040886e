import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { expect, it } from 'vitest';

/** docs/architecture.md: a folder imports only from floors below it, or from itself. */
const floors: Record<string, number> = {
  tensor: 0,
  random: 0,
  objectives: 1,
  cluster: 1,
  models: 2,
  text: 2,
  data: 2,
  optim: 2,
  rollout: 3,
  scoring: 3,
  training: 4,
  evaluation: 4,
  oracle: 4,
  runs: 5,
  report: 5,
  bench: 5,
  variance: 5,
  plan: 5,
  cli: 6,
};
/** Folders of one floor that may use another of the same floor, and why. */
const neighbours: Record<string, readonly string[]> = {
  // An example is text already encoded.
  data: ['text'],
  // A plan reads what a run would read.
  plan: ['runs'],
};

const src = resolve(import.meta.dirname, '../src');

/** Every file and what it imports, as paths below src. */
function sources(): { file: string; to: string }[] {
  const files = readdirSync(src, { recursive: true, encoding: 'utf8' }).filter((name) =>
    name.endsWith('.ts'),
  );
  return files.flatMap((file) => {
    const text = readFileSync(join(src, file), 'utf8');
    const targets = [...text.matchAll(/(?:from|import)\s*\(?\s*'(\.[^']+)'/g)].map((match) =>
      relative(src, resolve(src, dirname(file), match[1]!)),
    );
    return targets.map((to) => ({ file, to }));
  });
}

function imports(): { from: string; to: string; file: string }[] {
  return sources().map(({ file, to }) => ({ from: file.split('/')[0]!, to: to.split('/')[0]!, file }));
}

it('every import goes down a floor or stays in its folder', () => {
  const all = imports().filter(({ from, to }) => from in floors && to in floors && from !== to);
  expect(all.length).toBeGreaterThan(100);
  const wrong = all.filter(
    ({ from, to }) => floors[to]! >= floors[from]! && !(neighbours[from] ?? []).includes(to),
  );
  expect(wrong.map(({ file, to }) => `${file} imports ${to}`)).toEqual([]);
});

/** What tells engines apart: only engines and what chooses one may ask it. */
const QUESTIONS = /\b(engineName|getBackend|findBackend)\b|\btf\.backend\(/;

it('an operation is written once: nobody outside the engines asks which one is active', () => {
  const files = readdirSync(src, { recursive: true, encoding: 'utf8' }).filter(
    (name) => name.endsWith('.ts') && !name.startsWith('tensor/engines/'),
  );
  const asking = files.filter((file) => QUESTIONS.test(readFileSync(join(src, file), 'utf8')));
  expect(asking.sort()).toEqual(['tensor/backend.ts', 'tensor/kernels.ts']);
});

it('an engine is reached through the table only', () => {
  const reaching = sources()
    .filter(({ file, to }) => to.startsWith('tensor/engines/') && !file.startsWith('tensor/engines/'))
    .map(({ file }) => file);
  expect([...new Set(reaching)]).toEqual(['tensor/backend.ts']);
});

it('no file imports itself by way of others', () => {
  const targets = new Map<string, string[]>();
  for (const { file, to } of sources()) {
    const all = targets.get(file) ?? [];
    targets.set(file, [...all, to.replace(/\.js$/, '.ts')]);
  }
  const done = new Set<string>();
  const circles: string[] = [];
  const visit = (file: string, way: string[]): void => {
    if (way.includes(file)) circles.push([...way.slice(way.indexOf(file)), file].join(' > '));
    if (way.includes(file) || done.has(file)) return;
    for (const to of targets.get(file) ?? []) visit(to, [...way, file]);
    done.add(file);
  };
  for (const file of targets.keys()) visit(file, []);
  expect(targets.size).toBeGreaterThan(300);
  expect(circles).toEqual([]);
});
