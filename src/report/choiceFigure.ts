import * as Plot from '@observablehq/plot';
import { csv } from './escape.js';
import { drawSvg, type Figure, logAxis, rowScale } from './figure.js';
import { brief } from './format.js';
import { colorVariable } from './palette.js';

/** One option of an axis of choice. */
export interface ChoiceOption {
  axis: string;
  label: string;
  value: number;
  /** Relative bias. */
  bias: number;
  unbiased: boolean;
}

const rowHeight = 19;
const titleHeight = 24;

/**
 * What each choice costs, a dot an option on a logarithmic scale, axis by axis: filled where the estimator is unbiased, hollow
 * with its bias beside it where it is not. A dashed line marks the reference.
 */
export function choiceFigure(
  options: readonly ChoiceOption[],
  text: { name: string; title: string; axis: string; reference: number },
): Figure {
  const axes = [...new Set(options.map(({ axis }) => axis))];
  // A place for the heading of every axis, then its options.
  let place = 0;
  const heads: { axis: string; place: number; color: string }[] = [];
  const dots = axes.flatMap((axis, i) => {
    const color = colorVariable((i % 7) + 1);
    heads.push({ axis, place: place++, color });
    return options
      .filter((option) => option.axis === axis)
      .map((option) => ({
        ...option,
        place: place++,
        color,
        note: option.unbiased ? '0' : percent(option.bias),
      }));
  });
  const values = dots.map(({ value }) => value);
  const domain: [number, number] = [Math.min(...values) / 1.25, Math.max(...values) * 1.25];
  const ticks = roundNumbers(domain);
  const svg = drawSvg(
    {
      width: 640,
      height: titleHeight + 56 + rowHeight * place,
      marginTop: titleHeight + 12,
      marginBottom: 40,
      marginLeft: 210,
      marginRight: 64,
      x: logAxis(text.axis, domain, ticks),
      y: rowScale(place),
      color: { type: 'identity' },
      marks: [
        Plot.gridX({ ticks, stroke: 'currentColor', strokeOpacity: 0.1 }),
        Plot.ruleX([text.reference], { stroke: colorVariable(0), strokeDasharray: '3,3' }),
        Plot.text(heads, {
          y: 'place',
          text: 'axis',
          fill: 'color',
          fontWeight: 700,
          frameAnchor: 'left',
          textAnchor: 'start',
          dx: -204,
        }),
        note('filled: unbiased, hollow: biased', { frameAnchor: 'top-left', textAnchor: 'start' }),
        note('bias', { frameAnchor: 'top-right', textAnchor: 'end', dx: 58 }),
        Plot.dot(dots, {
          x: 'value',
          y: 'place',
          r: 4.5,
          stroke: 'color',
          strokeWidth: 2,
          fill: (dot: { unbiased: boolean; color: string }) => (dot.unbiased ? dot.color : 'var(--paper)'),
        }),
        Plot.text(dots, { y: 'place', text: 'label', frameAnchor: 'left', textAnchor: 'end', dx: -8 }),
        Plot.text(dots, {
          y: 'place',
          text: 'note',
          frameAnchor: 'right',
          textAnchor: 'end',
          dx: 58,
          fontVariant: 'tabular-nums',
        }),
      ],
    },
    text.title,
    `${text.axis}: ${dots.map(({ axis, label, value, note }) => `${axis} ${label} ${brief(value)}, bias ${note}`).join('; ')}`,
  );
  return {
    name: text.name,
    title: text.title,
    svg,
    csv: csv(
      ['axis', 'option', 'value', 'relative_bias', 'unbiased'],
      dots.map(({ axis, label, value, bias, unbiased }) => [axis, label, value, bias, String(unbiased)]),
    ),
  };
}

/** 1, 2 and 5 times the powers of ten inside a domain. */
function roundNumbers([low, high]: [number, number]): number[] {
  const first = Math.floor(Math.log10(low));
  const decades = Array.from(
    { length: Math.ceil(Math.log10(high)) - first + 1 },
    (_, i) => 10 ** (first + i),
  );
  return decades.flatMap((power) => [power, 2 * power, 5 * power]).filter((x) => x >= low && x <= high);
}

/** A line of soft text above the frame. */
function note(text: string, place: Plot.TextOptions): Plot.Text {
  return Plot.text([text], { dy: -14, fill: 'var(--soft)', ...place });
}

function percent(bias: number): string {
  const size = 100 * bias;
  return `${size >= 10 ? size.toFixed(0) : size.toPrecision(2)} %`;
}
