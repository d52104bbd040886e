import type { Entry } from './entries.js';
import { csv } from './escape.js';
import type { Exposure, Histogram, ReliabilityBin } from './evaluationFile.js';
import type { Figure } from './figure.js';
import type { Line } from './line.js';
import { linePanel } from './linePanel.js';
import { lineColor } from './palette.js';
import { ridgeFigure } from './ridgeFigure.js';

type Colors = ReadonlyMap<Entry, number>;

/** The entries that have a curve, with it and with how they are drawn. */
function having<T>(
  entries: readonly Entry[],
  colors: Colors,
  read: (entry: Entry) => T | undefined,
): { entry: Entry; curve: T; look: Pick<Line, 'label' | 'color' | 'dashed'> }[] {
  return entries.flatMap((entry) => {
    const curve = read(entry);
    const { stroke, dashed } = lineColor(colors.get(entry)!);
    return curve === undefined ? [] : [{ entry, curve, look: { label: entry.label, color: stroke, dashed } }];
  });
}

const flat = (x: number, mean: number) => ({ x, mean, low: mean, high: mean });

/** Fewer of the teacher's samples than this share say nothing about a length. */
const fewest = 0.05;

/** ExAccErr over length, and the error R(l) that it is made of. */
export function exposureFigures(entries: readonly Entry[], colors: Colors): Figure[] {
  const shown = having(entries, colors, ({ evaluated }) => evaluated.curves.exposure)
    .map((one) => ({ ...one, steps: one.curve.reached.filter((share) => share >= fewest).length }))
    .filter(({ entry, steps }) => !entry.isTeacher && steps > 1);
  if (shown.length === 0) return [];
  const rows = shown.flatMap(({ entry, curve }) =>
    curve.student.map((student, i) => [
      ...[entry.label, i + 1, student, curve.teacher[i], curve.excess[i], curve.stderr[i], curve.reached[i]],
    ]),
  );
  const table = csv(
    ['run', 'tokens', 'student_error', 'teacher_error', 'excess_percent', 'excess_stderr', 'reached'],
    rows,
  );
  const excess = (curve: Exposure, steps: number) =>
    curve.excess.slice(0, steps).flatMap((mean, i) => {
      const error = curve.stderr[i] ?? 0;
      return mean === null ? [] : [{ x: i + 1, mean, low: mean - error, high: mean + error }];
    });
  return [
    linePanel(
      shown
        .map(({ curve, look, steps }) => ({ ...look, points: excess(curve, steps) }))
        .filter((line) => line.points.length > 0),
      { name: 'exposure-excess', title: 'Excess accumulated error, %', xLabel: 'tokens', csv: table },
    ),
    linePanel(
      shown.map(({ curve, look, steps }) => ({
        ...look,
        points: curve.student.slice(0, steps).map((mean, i) => flat(i + 1, mean)),
      })),
      { name: 'exposure-own', title: 'Error on own samples, nats', xLabel: 'tokens', csv: table },
    ),
    linePanel(
      shown.map(({ curve, look, steps }) => ({
        ...look,
        points: curve.teacher.slice(0, steps).map((mean, i) => flat(i + 1, mean)),
      })),
      {
        name: 'exposure-teacher',
        title: 'Error on the teacher’s samples, nats',
        xLabel: 'tokens',
        csv: table,
      },
    ),
  ];
}

/** A bin of fewer predictions says nothing: the share of them that is right could be anything. */
export const fewestPredictions = 20;

/** Reliability diagrams: how often right at which confidence. On the diagonal, confidence means what it says. */
export function calibrationFigures(entries: readonly Entry[], colors: Colors): Figure[] {
  return [
    ...reliability(entries, colors, 'calibration', 'Tokens of the references'),
    ...reliability(entries, colors, 'answerCalibration', 'Answers among choices'),
  ];
}

function reliability(
  entries: readonly Entry[],
  colors: Colors,
  name: 'calibration' | 'answerCalibration',
  title: string,
): Figure[] {
  const shown = having<ReliabilityBin[]>(entries, colors, ({ evaluated }) => evaluated.curves[name]);
  if (shown.length === 0) return [];
  const rows = shown.flatMap(({ entry, curve }) =>
    curve.map((bin) => [entry.label, bin.confidence, bin.accuracy, bin.count]),
  );
  const lines = shown.flatMap(({ curve, look }): Line[] => {
    const bins = curve.filter(({ count }) => count >= fewestPredictions);
    const points = bins.map((bin) => flat(bin.confidence, bin.accuracy));
    return points.length === 0 ? [] : [{ ...look, dots: true, points }];
  });
  if (lines.length === 0) return [];
  return [
    linePanel(lines, {
      name: name === 'calibration' ? 'calibration-tokens' : 'calibration-answers',
      title,
      xLabel: 'confidence',
      unitSquare: true,
      labelled: true,
      csv: csv(['run', 'confidence', 'accuracy', 'count'], rows),
    }),
  ];
}

/** Distributions over all samples, a row a model: of a response's length and of a token's reward. */
export function distributionFigures(entries: readonly Entry[], colors: Colors): Figure[] {
  return [
    ...shares(entries, colors, 'length', 'Length of responses, share in %', 'tokens'),
    ...shares(
      entries.filter((entry) => !entry.isTeacher),
      colors,
      'reward',
      'Reward of tokens, % per nat',
      'ln p − ln q, nats',
    ),
  ];
}

function shares(
  entries: readonly Entry[],
  colors: Colors,
  name: 'length' | 'reward',
  title: string,
  xLabel: string,
): Figure[] {
  const shown = having<Histogram>(entries, colors, ({ evaluated }) => evaluated.curves[name]);
  if (shown.length === 0) return [];
  const middle = ({ edges }: Histogram, b: number): number =>
    // Whole tokens are themselves, a range of rewards is its middle.
    name === 'length' && edges[b + 1]! - edges[b]! === 1 ? edges[b]! : (edges[b]! + edges[b + 1]!) / 2;
  // Bins of different widths compare by what falls into a unit.
  const share = ({ edges, counts }: Histogram, b: number): number =>
    (100 * counts[b]!) / counts.reduce((sum, n) => sum + n, 0) / (edges[b + 1]! - edges[b]!);
  const table = shown.flatMap(({ entry, curve }) =>
    curve.counts.map((count, b) => [entry.label, curve.edges[b], curve.edges[b + 1], count]),
  );
  const rows = shown.map(({ curve, look, entry }) => ({
    isTeacher: entry.isTeacher,
    line: { ...look, points: curve.counts.map((_, b) => flat(middle(curve, b), share(curve, b))) },
  }));
  return [
    ridgeFigure(
      rows.map(({ line }) => line),
      {
        name: `distribution-${name}`,
        title,
        xLabel,
        csv: csv(['run', 'from', 'to', 'count'], table),
        reference: rows.length > 1 ? rows.find(({ isTeacher }) => isTeacher)?.line : undefined,
        zero: name === 'reward',
      },
    ),
  ];
}
