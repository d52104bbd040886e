/** The excess accumulated error of a sweep's students over the length of the response, for a table and a figure. */
import { meanAndDeviation } from '../src/report/entries.js';
import { csv } from '../src/report/escape.js';
import type { Figure } from '../src/report/figure.js';
import { linePanel } from '../src/report/linePanel.js';
import { lineColor } from '../src/report/palette.js';
import { displayName } from '../src/report/runs.js';
import type { Student } from './students.js';

export interface ExposureFigure {
  /** Steps beyond it are left out: too few of the teacher's samples reach them. */
  longest: number;
  /** The groups with a line, and its colour; the table has all. */
  shown: ReadonlyMap<string, number>;
}

/**
 * Mean and deviation of ExAccErr(l) over the runs of each group, at every l that all of them reach.
 *
 * @throws Error when a student was measured without `ex_acc_err`
 */
export function exposurePanel(
  groups: readonly (readonly [name: string, students: readonly Student[]])[],
  { longest, shown }: ExposureFigure,
): Figure {
  const curves = groups.flatMap(([method, students]) =>
    Array.from({ length: longest }, (_, l) => {
      const values = students.flatMap(({ name, curves: { exposure } }) => {
        if (!exposure) throw new Error(`${name}: its evaluation has no ex_acc_err; measure it again`);
        return exposure.excess[l] ?? [];
      });
      return { method, step: l + 1, values };
    })
      .filter(({ values }) => values.length === students.length)
      .map((point) => ({ ...point, ...meanAndDeviation(point.values) })),
  );
  const lines = groups
    .filter(([method]) => shown.has(method))
    .map(([method]) => {
      const { stroke, dashed } = lineColor(shown.get(method)!);
      const points = curves
        .filter((point) => point.method === method)
        .map(({ step, mean, deviation }) => ({
          ...{ x: step, mean },
          ...{ low: mean - deviation, high: mean + deviation },
        }));
      return { label: displayName(method), color: stroke, dashed, points };
    });
  const table = csv(
    ['method', 'step', 'ex_acc_err', 'deviation', 'runs'],
    curves.map(({ method, step, mean, deviation, values }) => [method, step, mean, deviation, values.length]),
  );
  return linePanel(lines, {
    ...{ name: 'exposure', title: 'Excess accumulated error, %', xLabel: 'response tokens' },
    csv: table,
  });
}
