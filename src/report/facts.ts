import path from 'node:path';
import { byValue, flatten } from './configuration.js';
import type { Entry } from './entries.js';
import { magnitude } from './format.js';
import type { Run } from './runs.js';

/** The few facts at the head of the page: what was distilled into what, on what, for how long, when and where. */
export function facts(entries: readonly Entry[]): [name: string, value: string][] {
  const runs = entries.flatMap((entry) => entry.runs);
  const students = entries.filter((entry) => !entry.isTeacher);
  const config = (field: string): string => distinct(runs, (run) => flatten(run.config).get(field));
  const environment = (field: string): string =>
    distinct(runs, ({ environment }) =>
      environment[field] === null ? undefined : flatten(environment).get(field),
    );
  const wordnet = runs.some((run) => flatten(run.config).has('data.wordnet.seed'));
  const all: [string, string][] = [
    ['Teacher', withSize(distinct(runs, teacherOf), teacherSize(entries))],
    ['Students', ofEach(students, ({ parameters }) => parameters && `${magnitude(parameters)} parameters`)],
    ['Began as', ofEach(students, startingStudent)],
    ['Optimizer steps', ofEach(students, ({ steps }) => steps?.toLocaleString('en'))],
    [
      'Data',
      distinct(runs, (run) => nameOf(flatten(run.config).get('data.train'))) ||
        (wordnet ? 'embedded WordNet instructions' : ''),
    ],
    ['Seed', config('seed') || environment('seed')],
    ['Date', distinct(runs, ({ environment: { started } }) => dayOf(started))],
    ['Backend', environment('backend')],
    [
      'Machine',
      [environment('cpu'), environment('cores') && `${environment('cores')} cores`]
        .filter(Boolean)
        .join(', '),
    ],
    ['Code', environment('git_commit').replace(/\b([0-9a-f]{10})[0-9a-f]{30}\b/g, '$1')],
  ];
  return all.filter(([, value]) => value !== '');
}

/** Parameters of the teacher: as it was measured, or as the students' runs loaded it. */
export function teacherSize(entries: readonly Entry[]): number | null {
  const own = entries.find((entry) => entry.isTeacher)?.parameters;
  const sizes = new Set(own ? [own] : entries.flatMap((entry) => entry.teacherParameters ?? []));
  return sizes.size === 1 ? [...sizes][0]! : null;
}

function distinct(runs: readonly Run[], read: (run: Run) => unknown): string {
  const values = runs.map(read).filter((x) => x !== undefined && x !== null && x !== '');
  return [...new Set(values.map(String))].join(', ');
}

/** More different values than a line holds are named without saying whose they are. */
const mostValues = 4;

function ofEach(
  entries: readonly Entry[],
  read: (entry: Entry) => string | number | null | undefined,
): string {
  const pairs = entries.flatMap((entry): [string, string][] => {
    const value = read(entry);
    return value ? [[entry.label, String(value)]] : [];
  });
  const values = new Set(pairs.map(([, value]) => value));
  if (values.size === 0) return '';
  return values.size > mostValues ? [...values].join(', ') : byValue(pairs);
}

function teacherOf({ config }: Run): string {
  return [config.teacher ?? []]
    .flat()
    .map((x) => {
      const { url, cache } = (x ?? {}) as { url?: unknown; cache?: unknown };
      return modelName(String(url ?? cache ?? x));
    })
    .join(' + ');
}

function withSize(name: string, parameters: number | null): string {
  return [name, parameters ? `${magnitude(parameters)} parameters` : ''].filter(Boolean).join(', ');
}

/** A shape is a student drawn at random. */
function startingStudent({ config }: Run): string | undefined {
  const { student } = config;
  if (typeof student === 'string') return modelName(student);
  const shape = flatten(config);
  const [layers, width] = [shape.get('student.layers'), shape.get('student.hidden_size')];
  return layers === undefined ? undefined : `random weights (${layers} layers, width ${width})`;
}

/** The name of a model directory; `best` and `final` mean nothing without the run they belong to. */
function modelName(directory: string): string {
  const name = path.basename(directory);
  return name === 'best' || name === 'final' ? `${path.basename(path.dirname(directory))}/${name}` : name;
}

const nameOf = (file: string | undefined): string | undefined => file && path.basename(file);

const dayOf = (time: unknown): string | undefined =>
  typeof time === 'string' && /^\d{4}-\d{2}-\d{2}/.test(time) ? time.slice(0, 10) : undefined;
