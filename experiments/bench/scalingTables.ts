/** What bench:scaling found, as tables and as a figure. */
import * as Plot from '@observablehq/plot';
import { csv } from '../../src/report/escape.js';
import { drawSvg, logAxis, standaloneSvg } from '../../src/report/figure.js';
import { colorVariable } from '../../src/report/palette.js';
import type { PowerFit, ScaledWork } from './growth.js';
import { markdownTable } from './markdown.js';
import type { Roofline } from './roofline.js';
import type { RoundParts } from './roundShares.js';
import {
  type AxisName,
  axisNames,
  fitOf,
  type ScalingPoint,
  type Setting,
  scaledWorks,
} from './scalingPoints.js';

export interface Findings {
  base: Setting;
  points: readonly ScalingPoint[];
  roofline: Roofline;
  round: RoundParts;
}

export interface Table {
  title: string;
  head: readonly string[];
  rows: readonly (readonly string[])[];
}

const alongAxis = (points: readonly ScalingPoint[], work: ScaledWork, axis: AxisName): ScalingPoint[] =>
  points.filter((p) => p.work === work && p.axis === axis);

/** The exponent of every work along every axis. */
export function fits(points: readonly ScalingPoint[]): ({ work: ScaledWork; axis: AxisName } & PowerFit)[] {
  return scaledWorks.flatMap((work) =>
    axisNames.map((axis) => ({ work, axis, ...fitOf(alongAxis(points, work, axis)) })),
  );
}

export function scalingTables({ base, points, roofline, round }: Findings): Table[] {
  const percent = (share: number): string => `${(100 * share).toFixed(0)} %`;
  const ms = (s: number): string => (1000 * s).toFixed(s < 0.1 ? 1 : 0);
  const { javascript_in_rollout: a, javascript_in_updates: b, ...parts } = round;
  const whole = Object.values(parts).reduce((x, y) => x + y, 0);
  const share = (name: string, seconds: number): string[] => [
    name,
    seconds.toFixed(3),
    percent(seconds / whole),
  ];
  const all = fits(points);
  return [
    {
      title: 'Exponent k of seconds = c · quantity^k, with r²',
      head: ['work', ...axisNames],
      rows: scaledWorks.map((work) => [
        work,
        ...axisNames.map((axis) => {
          const { exponent, r2 } = all.find((f) => f.work === work && f.axis === axis)!;
          return `${exponent.toFixed(2)} (${r2.toFixed(3)})`;
        }),
      ]),
    },
    {
      title: `Every point; roofline ${roofline.gflops.toFixed(0)} GFLOP/s (${roofline.shape.join(' × ')}); base ${axisNames.map((axis) => `${axis} ${base[axis]}`).join(', ')}`,
      head: ['work', 'axis', 'value', 'ms', 'from', 'to', 'tokens/s', 'GFLOP/s', 'of roofline'],
      rows: points.map((p) => [
        ...[p.work, p.axis, String(p.value), ms(p.seconds), ms(p.min_s), ms(p.max_s)],
        ...[p.tokens_per_s.toFixed(0), p.gflops.toFixed(1), percent(p.gflops / roofline.gflops)],
      ]),
    },
    {
      title: 'A round of MiniLLM',
      head: ['part', 'seconds', 'share'],
      rows: [
        share('rollout: student alone', parts.student_rollout),
        share('rollout: added by the teacher', parts.teacher_in_rollout),
        share("updates: targets and the teacher's distributions", parts.teacher_in_updates),
        share('updates: forward and backward', parts.forward_backward),
        share('updates: optimizer', parts.optimizer),
        share('round', whole),
        share('of it JavaScript, in the rollout', a),
        share('of it JavaScript, in the updates', b),
      ],
    },
  ];
}

export function markdown(tables: readonly Table[]): string {
  return tables.map(({ title, head, rows }) => `${title}:\n\n${markdownTable(head, rows)}`).join('\n');
}

export function scalingCsv({ points, roofline }: Pick<Findings, 'points' | 'roofline'>): string {
  const head = [
    'work',
    'axis',
    'value',
    'seconds',
    'min_s',
    'max_s',
    'tokens_per_s',
    'gflops',
    'of_roofline',
  ];
  return csv(
    head,
    points.map((p) => [
      ...[p.work, p.axis, p.value, p.seconds, p.min_s, p.max_s],
      ...[p.tokens_per_s, p.gflops, p.gflops / roofline.gflops],
    ]),
  );
}

/** Seconds over each quantity, both in multiples of the base, a panel a work; dashed is proportional growth. */
export function scalingFigure({ base, points }: Pick<Findings, 'base' | 'points'>): string {
  const drawn = points.map((p) => {
    const origin = alongAxis(points, p.work, p.axis).find((q) => q.value === base[p.axis])!;
    const color = colorVariable(1 + axisNames.indexOf(p.axis));
    return { ...p, x: p.value / base[p.axis], y: p.seconds / origin.seconds, color };
  });
  const xs = drawn.map((p) => p.x);
  const [low, high] = [Math.min(...xs), Math.max(...xs)];
  const ys = drawn.map((p) => p.y);
  const domain: [number, number] = [Math.min(low, ...ys), Math.max(high, ...ys)];
  const title = 'Time, in multiples of that of the base, as one quantity grows';
  const legend = axisNames.map((axis, i) => ({
    ...{ axis, color: colorVariable(1 + i), work: scaledWorks[0] },
    dx: axisNames.slice(0, i).reduce((x, name) => x + 24 + 7 * name.length, 0),
  }));
  const exponents = fits(points).map((f) => `${f.work} over ${f.axis} ^${f.exponent.toFixed(2)}`);
  return standaloneSvg(
    drawSvg(
      {
        ...{ width: 760, height: 330, marginTop: 66, marginLeft: 46, marginRight: 12, marginBottom: 40 },
        fx: { domain: [...scaledWorks], label: null, axis: null, padding: 0.13 },
        x: logAxis('quantity, in multiples of the base', [low, high], powers(2, low, high)),
        y: { ...logAxis('', domain, powers(4, ...domain)), label: null },
        marks: [
          Plot.gridY(powers(4, ...domain), { stroke: 'currentColor', strokeOpacity: 0.1 }),
          Plot.link([0], {
            ...{ x1: low, y1: low, x2: high, y2: high },
            ...{ stroke: 'currentColor', strokeOpacity: 0.5, strokeDasharray: '4,3' },
          }),
          Plot.line(drawn, { x: 'x', y: 'y', fx: 'work', z: 'axis', stroke: 'color', strokeWidth: 1.8 }),
          Plot.dot(drawn, { x: 'x', y: 'y', fx: 'work', fill: 'color', r: 2.6 }),
          Plot.text(scaledWorks, {
            ...{ fx: (work: string) => work, text: (work: string) => work },
            ...{ frameAnchor: 'top', dy: -14, fontWeight: 600 },
          }),
          legend.map(({ dx, color, axis, work }) =>
            Plot.text([axis], {
              ...{ fx: () => work, frameAnchor: 'top-left', textAnchor: 'start', dx, dy: -34 },
              ...{ fill: color, fontWeight: 600 },
            }),
          ),
        ],
        color: { type: 'identity' },
      },
      title,
      `${title}: ${exponents.join('; ')}`,
    ),
  );
}

/** The powers of `of` within a range. */
function powers(of: number, low: number, high: number): number[] {
  const all = Array.from({ length: 21 }, (_, i) => of ** (i - 10));
  return all.filter((x) => x >= low * 0.999 && x <= high * 1.001);
}
