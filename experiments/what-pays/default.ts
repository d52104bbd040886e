/**
 * Which point the default preset becomes, by the rule of README.md: `node experiments/what-pays/default.ts OUT`. Writes OUT/default.csv,
 * every candidate in every setting, the winner first, and OUT/answer.svg, what each point leaves of the reverse KL of the single step.
 */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { csv } from '../../src/report/escape.js';
import { mean, round } from '../comparison.js';
import { type Dot, dotPanels, ofDifference } from '../figures.js';
import {
  bySeeds,
  type Difference,
  overRuns,
  pairedGroups,
  readSweepStudents,
  type Student,
} from '../students.js';
import { points } from './points.js';
import { type Setting, type SettingName, settings } from './settings.js';

type Groups = ReadonlyMap<string, Student[]>;

/** Responses of a candidate are at least so long, as a share of those of `single`, which gains nothing by ending early. */
const SHORTEST = 0.75;

/** The points of the effects only. */
const noCandidates = ['critic', 'action-critic', 'gamma-0.9', 'gamma-0.5'];

/** How far a candidate is behind the best one of a setting, and whether it is level with it. */
interface Standing extends Difference {
  level: boolean;
  /** 1 is the lowest reverse KL per response of all candidates. */
  rank: number;
  seconds: number;
}

/** The points that were run in every setting and answer at length in each. */
export function candidatesOf(measured: readonly Groups[]): string[] {
  const length = (groups: Groups, point: string): number => overRuns(groups.get(point)!, 'length').mean;
  return Object.keys(points).filter(
    (point) =>
      !noCandidates.includes(point) &&
      measured.every(
        (groups) => groups.has(point) && length(groups, point) >= SHORTEST * length(groups, 'single'),
      ),
  );
}

/** Every candidate in a setting, compared with the best of them there. */
export function standings(
  groups: Groups,
  { metric, better }: Setting['decides'],
  candidates: readonly string[],
): Map<string, Standing> {
  const sign = better === 'more' ? 1 : -1;
  const of = (point: string, name = metric): number => overRuns(groups.get(point)!, name).mean;
  const best = candidates.reduce((a, b) => (sign * (of(b) - of(a)) > 0 ? b : a));
  const ranked = [...candidates].sort((a, b) => of(a, 'reverse_kl_seq') - of(b, 'reverse_kl_seq'));
  return new Map(
    candidates.map((point) => {
      const difference = pairedGroups(groups.get(point)!, groups.get(best)!, metric);
      const level = point === best || (sign > 0 ? difference.high >= 0 : difference.low <= 0);
      const seconds = mean(groups.get(point)!, ({ trainSeconds }) => trainSeconds);
      return [point, { ...difference, level, rank: 1 + ranked.indexOf(point), seconds }];
    }),
  );
}

/** The candidates, the winner first: level in most of them, then the lowest mean rank, then the least time. */
export function order(everywhere: readonly ReadonlyMap<string, Standing>[]): string[] {
  const of = (point: string): Standing[] => everywhere.map((standing) => standing.get(point)!);
  const key = (point: string): [number, number, number] => [
    -of(point).filter(({ level }) => level).length,
    // Of as many settings for every point: the sums are in the order of the means.
    of(point).reduce((sum, { rank }) => sum + rank, 0),
    of(point).reduce((sum, { seconds }) => sum + seconds, 0),
  ];
  return [...everywhere[0]!.keys()].sort((a, b) => {
    const [x, y] = [key(a), key(b)];
    const i = x.findIndex((value, at) => value !== y[at]);
    return i < 0 ? 0 : x[i]! - y[i]!;
  });
}

/** The points of the answer's figure, a row each. */
const shown: Readonly<Record<string, string>> = {
  'gold-single': 'single step, gold states',
  single: 'single step, own states',
  'gamma-0.9': 'and the future, γ = 0.9',
  normed: 'and the future over its length',
  future: 'and the whole future',
  'mixed-future': 'the same, with the mixture',
  'mixed-unclipped': 'and no clip',
};

/** Per cent of the single step, with the 95 % interval of the paired difference. */
function relative(groups: Groups, point: string, metric: string): Omit<Dot, 'row' | 'panel'> {
  const single = groups.get('single')!;
  const whole = overRuns(single, metric).mean;
  const difference = pairedGroups(groups.get(point)!, single, metric);
  const share = (x: number): number => 100 * (1 + x / whole);
  return ofDifference(
    { mean: share(difference.mean), low: share(difference.low), high: share(difference.high) },
    single.length,
  );
}

function answer(measured: Readonly<Record<string, Groups>>): string {
  const panel = (title: string, groups: Groups, metric: string): Dot[] =>
    Object.entries(shown)
      .filter(([point]) => groups.has(point))
      .map(([point, row]) => ({ row, panel: title, ...relative(groups, point, metric) }));
  const dots = [
    ...Object.entries(measured).flatMap(([name, groups]) => panel(name, groups, 'reverse_kl_seq')),
    // What the reverse KL of a story was bought with.
    ...panel('stories: length', measured.stories!, 'length'),
  ];
  return dotPanels(dots, {
    title: 'Reverse KL of a response, and its length, in % of the single step',
    axis: '%',
    highlight: shown.normed!,
    reference: { value: 100, label: '' },
  });
}

function write(out: string): void {
  const names = Object.keys(settings) as SettingName[];
  const measured = Object.fromEntries(
    names.map((name) => [name, bySeeds(readSweepStudents(join(out, name, 'train')))]),
  );
  const candidates = candidatesOf(Object.values(measured));
  const everywhere = names.map((name) => standings(measured[name]!, settings[name].decides, candidates));
  const rows = order(everywhere).flatMap((point, place) =>
    names.map((name, i) => {
      const { level, rank, seconds, ...difference } = everywhere[i]!.get(point)!;
      return [
        ...[place + 1, point, name, settings[name].decides.metric],
        ...[difference.mean, difference.low, difference.high].map(round),
        ...[level ? 'yes' : '', rank, round(seconds)],
      ];
    }),
  );
  const columns = ['mean', 'low', 'high'].map((what) => `minus_best_${what}`);
  writeFileSync(
    join(out, 'default.csv'),
    csv(
      ['place', 'point', 'setting', 'metric', ...columns, 'level', 'rank_reverse_kl_seq', 'train_seconds'],
      rows,
    ),
  );
  writeFileSync(join(out, 'answer.svg'), answer(measured));
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) write(process.argv[2]!);
