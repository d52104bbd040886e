/**
 * The tables and figures from the measured students: `node experiments/what-pays/tables.ts OUT SETTING`. Writes OUT/SETTING-points.csv
 * (means over training seeds), -effects.csv (each choice with the others fixed) and -effects.svg; for `consequence` also -lengths.csv,
 * -lengths.svg and -rollouts.csv, for `stories` -tokens.csv.
 */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { csv } from '../../src/report/escape.js';
import { standaloneSvg } from '../../src/report/figure.js';
import { type Line, linePanel } from '../../src/report/linePanel.js';
import { lineColor } from '../../src/report/palette.js';
import { mean, round } from '../comparison.js';
import { type Dot, dotPanels, ofDifference } from '../figures.js';
import {
  bySeeds,
  meansAndErrors,
  overRuns,
  pairedGroups,
  readSweepStudents,
  type Student,
} from '../students.js';
import { languageOf, optimum } from './consequence/language.js';
import { effects } from './points.js';
import {
  placeOf,
  type Setting,
  type SettingName,
  settings,
  type VariationName,
  variations,
} from './settings.js';

/** The columns of `meansAndErrors`. */
const columnsOf = (metrics: readonly string[]): string[] =>
  metrics.flatMap((name) => [name, `${name}_stderr`]);

function pointsTable(groups: ReadonlyMap<string, Student[]>, metrics: readonly string[]): string {
  return csv(
    ['point', 'seeds', 'train_seconds', ...columnsOf(metrics)],
    [...groups].map(([point, students]) => [
      ...[point, students.length],
      round(mean(students, ({ trainSeconds }) => trainSeconds)),
      ...meansAndErrors(students, metrics).map(round),
    ]),
  );
}

/** Every effect in every metric: the paired difference of two points with its 95 % interval. */
function effectRows(groups: ReadonlyMap<string, Student[]>, metrics: readonly string[]) {
  return effects
    .filter(([, point, minus]) => groups.has(point) && groups.has(minus))
    .flatMap(([effect, point, minus]) =>
      metrics.map((metric) => ({
        ...{ effect, point, minus, metric },
        ...pairedGroups(groups.get(point)!, groups.get(minus)!, metric),
      })),
    );
}

/** What is measured prompt by prompt, and so can be paired. */
const pairedMetrics = (groups: ReadonlyMap<string, Student[]>, { metrics }: Setting): string[] =>
  metrics.filter((name) => [...groups.values()].every(([first]) => first!.perPrompt[name]));

function writeSetting(place: string, name: SettingName): void {
  const setting: Setting = settings[name];
  const groups = bySeeds(readSweepStudents(join(place, 'train')));
  writeFileSync(`${place}-points.csv`, pointsTable(groups, setting.metrics));
  const rows = effectRows(groups, pairedMetrics(groups, setting));
  writeFileSync(
    `${place}-effects.csv`,
    csv(
      ['effect', 'point', 'minus', 'metric', 'mean', 'low', 'high'],
      rows.map(({ effect, point, minus, metric, mean, low, high }) => [
        ...[effect, point, minus, metric],
        ...[mean, low, high].map(round),
      ]),
    ),
  );
  const { seeds } = setting;
  const dots = rows
    .filter(({ metric }) => metric === 'reverse_kl_seq')
    .map((row): Dot => ({ row: row.effect, panel: '', ...ofDifference(row, seeds.length) }));
  const options = {
    title: `What each choice changes: ${name}`,
    axis: 'reverse KL in nats, less is better',
    highlight: effects[0]![0],
    reference: { value: 0, label: 'nothing' },
  };
  writeFileSync(`${place}-effects.svg`, dotPanels(dots, options));
}

/** The students at every value of what changes, in order. */
function measuredOver(out: string, name: VariationName) {
  const { own, others } = variations[name];
  return [...others, own]
    .sort((a, b) => a - b)
    .map((value) => ({
      value,
      groups: bySeeds(readSweepStudents(join(out, placeOf(name, value), 'train'))),
    }));
}

/** What is known without a run at a value: columns behind the measured ones. */
interface Known {
  columns: readonly string[];
  of: (value: number) => readonly (number | null)[];
}

/** The compared points at every value of a variation. */
function variationTable(
  out: string,
  name: VariationName,
  metrics: readonly string[],
  known: Known = { columns: [], of: () => [] },
): string {
  return csv(
    [name, 'point', 'seeds', ...columnsOf(metrics), ...known.columns],
    measuredOver(out, name).flatMap(({ value, groups }) =>
      variations[name].points.map((point) => {
        const students = groups.get(point)!;
        return [
          ...[value, point, students.length],
          ...[...meansAndErrors(students, metrics), ...known.of(value)].map(round),
        ];
      }),
    ),
  );
}

/** The share of sentences over their length, a line for each compared point. */
function lengthsFigure(out: string): string {
  const measured = measuredOver(out, 'length');
  const of = (point: string, i: number): Line => {
    const { stroke, dashed } = lineColor(point === 'future' ? 1 : 2 + i);
    const points = measured.map(({ value, groups }) => {
      const { mean, stderr } = overRuns(groups.get(point)!, 'exact_match_sampled');
      const half = 1.96 * (stderr ?? 0);
      return { x: value, mean, low: mean - half, high: mean + half };
    });
    return { label: point, color: stroke, dashed, dots: true, points };
  };
  const figure = linePanel(variations.length.points.map(of), {
    ...{ name: 'lengths', title: 'Responses that are sentences, %', xLabel: 'words of a sentence', csv: '' },
  });
  return standaloneSvg(figure.svg);
}

/** The best that a student without the key can reach, by credit for the single step and for the whole sequence. */
const best: Known = {
  columns: ['best_single', 'best_sequence'],
  of: (length) => {
    const { single, sequence } = optimum(languageOf(length));
    return [single.kl, sequence.kl];
  },
};

const [out, name] = process.argv.slice(2) as [string, SettingName];
const place = join(out, name);
const write = (what: string, content: string): void => writeFileSync(`${place}-${what}`, content);
writeSetting(place, name);
if (name === 'consequence') {
  write('lengths.csv', variationTable(out, 'length', settings.consequence.metrics, best));
  write('lengths.svg', lengthsFigure(out));
  write('rollouts.csv', variationTable(out, 'rollouts', ['exact_match_sampled', 'reverse_kl_seq']));
}
if (name === 'stories')
  write(
    'tokens.csv',
    variationTable(out, 'tokens', ['reverse_kl_seq', 'reverse_kl_token', 'length', 'ended']),
  );
