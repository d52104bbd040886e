import { type Entry, meanAndDeviation } from './entries.js';
import { csv } from './escape.js';
import type { Figure } from './figure.js';
import type { Line } from './line.js';
import { linePanel } from './linePanel.js';
import { type LineColor, lineColor } from './palette.js';
import type { Run } from './runs.js';
import { fewPoints, type SmoothPoint, smooth } from './smoothing.js';

/** The curve of one quantity of one entry in one phase: that of each run, and what is drawn of them. */
export interface Series {
  label: string;
  phase: string;
  color: LineColor;
  runs: { run: string; points: SmoothPoint[] }[];
}

export const validName = /^(valid|eval|test)_/;

/** The curves of an entry, one for each phase in which it logged the quantity. */
export function seriesOf(entry: Entry, name: string, label: string, color: LineColor): Series[] {
  const curves = entry.runs.map((run) => ({ run, byPhase: pointsByPhase(run, name) }));
  const phases = [...new Set(curves.flatMap(({ byPhase }) => [...byPhase.keys()]))];
  return phases.map((phase) => ({
    label: phases.length > 1 ? `${label} ${phase}` : label,
    phase,
    color,
    runs: curves.flatMap(({ run, byPhase }) => {
      const points = byPhase.get(phase);
      return points ? [{ run: run.label, points: smooth(points) }] : [];
    }),
  }));
}

function pointsByPhase(run: Run, name: string): Map<string, { step: number; value: number }[]> {
  const byPhase = new Map<string, Map<number, number>>();
  for (const { step, phase, values } of run.logged) {
    if (values[name] === undefined) continue;
    const points = byPhase.get(phase) ?? new Map<number, number>();
    byPhase.set(phase, points.set(step, values[name]));
  }
  return new Map(
    [...byPhase].map(([phase, points]) => [
      phase,
      [...points].sort(([a], [b]) => a - b).map(([step, value]) => ({ step, value })),
    ]),
  );
}

/** One run: its smoothed curve with the noise around it. Several: the mean of their curves with the spread over seeds. */
function drawn({ label, color, runs }: Series): Line {
  const [first] = runs as [Series['runs'][number]];
  const dots = first.points.length < fewPoints;
  const line = { label, color: color.stroke, dashed: color.dashed, dots };
  if (runs.length === 1) {
    return {
      ...line,
      points: first.points.map(({ step, mean, low, high }) => ({ x: step, mean, low, high })),
    };
  }
  const others = runs.slice(1).map(({ points }) => new Map(points.map((p) => [p.step, p.mean])));
  const points = first.points.flatMap(({ step, mean: own }) => {
    const values = [own, ...others.flatMap((byStep) => byStep.get(step) ?? [])];
    if (values.length < runs.length) return [];
    const { mean, deviation } = meanAndDeviation(values);
    return [{ x: step, mean, low: mean - deviation, high: mean + deviation }];
  });
  return { ...line, points };
}

/** The curves of one quantity as a panel, with the numbers of each run. */
export function panel(
  name: string,
  title: string,
  series: readonly Series[],
  references: Line[] = [],
): Figure {
  const rows = series.flatMap(({ label, phase, runs }) =>
    runs.flatMap(({ run, points }) =>
      points.map((p) => [run, label, phase, p.step, p.value, p.mean, p.low, p.high]),
    ),
  );
  const lines = series.map(drawn).filter((line) => line.points.length > 0);
  return linePanel([...lines, ...references], {
    name,
    title,
    xLabel: 'step',
    csv: csv(['run', 'series', 'phase', 'step', 'value', 'smoothed', 'low', 'high'], rows),
  });
}

export const teacherPrefix = 'teacher_';

/** The teacher's value on the same validation prompts, as a level across the panel; runs log it once. */
export function teacherLine(entries: readonly Entry[], name: string): Line[] {
  const runs = entries
    .flatMap((entry) => entry.runs)
    .filter((run) => run.logged.some((row) => row.values[name] !== undefined));
  const key = name.replace(validName, teacherPrefix);
  const levels = new Set(
    runs.flatMap((run) => run.logged.flatMap((row) => (key === name ? [] : (row.values[key] ?? [])))),
  );
  const [level] = levels;
  // Teachers or prompts that differ between the runs have no one level.
  if (level === undefined || levels.size > 1) return [];
  const steps = runs.flatMap((run) => run.logged.map((row) => row.step));
  const ends = [steps.reduce((a, b) => Math.min(a, b)), steps.reduce((a, b) => Math.max(a, b))];
  const { stroke } = lineColor(0);
  return [
    {
      label: 'teacher',
      color: stroke,
      dashed: true,
      points: ends.map((x) => ({ x, mean: level, low: level, high: level })),
    },
  ];
}
