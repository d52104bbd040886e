import { describe, expect, it } from 'vitest';
import { orderedMetrics } from '../../src/report/catalog.js';
import { differences, flatten } from '../../src/report/configuration.js';
import { csv, escapeHtml, scriptJson } from '../../src/report/escape.js';
import { standaloneSvg } from '../../src/report/figure.js';
import { brief, decimalsFor, duration, fixed, magnitude, ranged, tick } from '../../src/report/format.js';
import { intervalFigure } from '../../src/report/intervalFigure.js';
import { spreadLabels } from '../../src/report/linePanel.js';
import { assignColors, lineColor, seriesColors } from '../../src/report/palette.js';
import { bounds, smooth, thin } from '../../src/report/smoothing.js';
import { pageStyle, themes } from '../../src/report/style.js';
import { shownInterval } from '../../src/report/uncertainty.js';
import { checkXml } from './xml.js';

describe('escaping', () => {
  it('leaves no character that HTML reads', () => {
    expect(escapeHtml('<a href="x" id=\'y\'>&amp;')).toBe(
      '&lt;a href=&quot;x&quot; id=&#39;y&#39;&gt;&amp;amp;',
    );
  });

  it('writes JSON that neither ends nor changes a script, and means the same', () => {
    const value = { a: '</script><!-- <script> & \u2028\u2029', b: [1, null] };
    const text = scriptJson(value);
    expect(text).not.toMatch(/[<>&\u2028\u2029]/);
    expect(JSON.parse(text)).toEqual(value);
  });

  it('writes CSV as RFC 4180 does', () => {
    const text = csv(
      ['a', 'b'],
      [
        ['x,y', 1.5],
        ['say "hi"', null],
        ['two\nlines', Number.NaN],
        ['plain', undefined],
      ],
    );
    expect(text).toBe('a,b\r\n"x,y",1.5\r\n"say ""hi""",\r\n"two\nlines",\r\nplain,\r\n');
  });
});

describe('numbers', () => {
  it('shows a standard error with one digit, or two when it begins with 1 or 2', () => {
    expect([0.21, 0.008, 0.05, 1.1, 0.001, 0.03, 12, 45, 0.000004].map(decimalsFor)).toEqual([
      2, 3, 2, 1, 4, 2, 0, 0, 4,
    ]);
    expect([0, Number.NaN, Number.POSITIVE_INFINITY].map(decimalsFor)).toEqual([2, 2, 2]);
  });

  it('uses a real minus and a dash for nothing', () => {
    expect([fixed(-1.25, 1), fixed(null, 2), fixed(Number.NaN, 2), fixed(0, 0)]).toEqual([
      '−1.3',
      '–',
      '–',
      '0',
    ]);
    expect([brief(-0.5), brief(1234.5), brief(7), brief(0.00012)]).toEqual([
      '−0.500',
      '1235',
      '7',
      '1.2e-4'.replace('-', '−'),
    ]);
    expect([tick(12000), tick(0.0006), tick(0.00005), tick(-0.5), tick(0.1 + 0.2), tick(0)]).toEqual([
      '12k',
      '0.0006',
      '5 · 10⁻⁵',
      '−0.5',
      '0.3',
      '0',
    ]);
    expect([fixed(-0.04, 1), fixed(-0.06, 1), magnitude(418_272), magnitude(1_878_240)]).toEqual([
      ...['0.0', '−0.1', '0.42M', '1.9M'],
    ]);
    expect([ranged(1.25, 3, 1), ranged(-1, 3, 0)]).toEqual(['1.3–3.0', '−1 to 3']);
    expect([duration(5.25), duration(75), duration(3700)]).toEqual(['5.25 s', '1 min 15 s', '1 h 1 min']);
  });
});

describe('smooth', () => {
  it('leaves few points as they are', () => {
    const points = [1, 5, 2].map((value, step) => ({ step, value }));
    expect(smooth(points).map((p) => [p.mean, p.low, p.high])).toEqual([
      [1, 1, 1],
      [5, 5, 5],
      [2, 2, 2],
    ]);
  });

  it('does not bend a straight line, ends included', () => {
    const points = Array.from({ length: 100 }, (_, step) => ({ step, value: 3 - 0.5 * step }));
    for (const p of smooth(points)) {
      expect(p.mean).toBeCloseTo(p.value, 9);
      expect(p.high - p.low).toBeCloseTo(0, 9);
    }
  });

  it('averages noise inside: the mean of the window of 2·4+1, its deviation as the band', () => {
    const points = Array.from({ length: 96 }, (_, step) => ({ step, value: step % 2 }));
    const middle = smooth(points)[48]!;
    expect(middle.mean).toBeCloseTo(4 / 9, 12);
    expect(middle.high - middle.mean).toBeCloseTo(Math.sqrt((5 * (4 / 9) ** 2 + 4 * (5 / 9) ** 2) / 9), 12);
  });

  it('thins to evenly spaced points with both ends', () => {
    expect(thin([0, 1, 2, 3, 4, 5, 6, 7, 8], 5)).toEqual([0, 2, 4, 6, 8]);
    expect(thin([1, 2], 5)).toEqual([1, 2]);
  });
});

describe('spreadLabels', () => {
  it('moves labels apart in their order and keeps them inside', () => {
    expect(spreadLabels([50, 20, 51], 13, 0, 100)).toEqual([50, 20, 63]);
    expect(spreadLabels([95, 96, 97], 10, 0, 100)).toEqual([80, 90, 100]);
    expect(spreadLabels([-5], 10, 0, 100)).toEqual([0]);
  });
});

describe('configuration', () => {
  it('flattens and finds the differences', () => {
    const a = flatten({ train: { lr: 0.1, betas: [0.9, 0.95] }, seed: 1, none: null });
    const b = flatten({ train: { lr: 0.2, betas: [0.9, 0.95] }, seed: 1, extra: true });
    expect([...a]).toEqual([
      ['train.lr', '0.1'],
      ['train.betas', '[0.9,0.95]'],
      ['seed', '1'],
      ['none', 'null'],
    ]);
    expect(differences([a, b])).toEqual(['train.lr', 'none', 'extra']);
  });
});

describe('orderedMetrics', () => {
  it('shows known metrics in order, unknown ones before the cost', () => {
    expect(orderedMetrics(['steps', 'new_metric', 'length', 'rouge_l_greedy', 'constructor'])).toEqual([
      'rouge_l_greedy',
      'length',
      'new_metric',
      'constructor',
      'steps',
    ]);
  });
});

/** Contrast of two colours after WCAG 2. */
function contrast(a: string, b: string): number {
  const luminance = (hex: string): number =>
    [1, 3, 5]
      .map((at) => Number.parseInt(hex.slice(at, at + 2), 16) / 255)
      .map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4))
      .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i]!, 0);
  const [high, low] = [luminance(a), luminance(b)].sort((x, y) => y - x) as [number, number];
  return (high + 0.05) / (low + 0.05);
}

describe('contrast', () => {
  it.each(['light', 'dark'] as const)('of all text is at least 4.5:1 in %s', (theme) => {
    const {
      paper,
      ink,
      soft,
      wash,
      accent,
      warn,
      'warn-wash': warnWash,
      mark,
      'mark-ink': markInk,
    } = themes[theme];
    const { n1, n2, n3, p1, p2, p3 } = themes[theme];
    const pairs: [what: string, text: string, ground: string][] = [
      ...[paper, wash, warnWash, n1, n2, n3, p1, p2, p3].map((on): [string, string, string] => [
        'ink',
        ink,
        on,
      ]),
      ...[paper, wash].flatMap((on): [string, string, string][] => [
        ['soft', soft, on],
        ['accent', accent, on],
        // Names of models, in figures, in cards and above responses.
        ...seriesColors.map((color, i): [string, string, string] => [`series ${i}`, color[theme], on]),
      ]),
      ['a warning', warn, warnWash],
      ['what was sought', markInk, mark],
      ['a tooltip', paper, ink],
    ];
    for (const [what, text, ground] of pairs)
      expect(contrast(text, ground), `${what} ${text} on ${ground}`).toBeGreaterThanOrEqual(4.5);
  });

  it('is measured of what the page really has', () => {
    for (const theme of ['light', 'dark'] as const)
      for (const [name, value] of Object.entries(themes[theme]))
        expect(pageStyle).toContain(`--${name}:${value}`);
    // No text is faded.
    expect(pageStyle).not.toMatch(/[{;]opacity:(?!1[;}])/);
    expect(
      pageStyle.match(/[{;]color:(?!var\(--(ink|soft|accent|warn|mark-ink|paper|c)\)|inherit)[^;}]*/g),
    ).toBeNull();
  });
});

describe('palette', () => {
  it('gives a method its colour, others the next free one, and comes again dashed', () => {
    const methods = ['teacher', 'sft', 'kd', 'kd', 'new', 'minillm', 'a', 'b', 'c', 'd'];
    const entries = methods.map((method) => ({ method, isTeacher: method === 'teacher' }));
    expect([...assignColors(entries).entries()].map(([entry, n]) => `${entry.method} ${n}`).sort()).toEqual(
      ['a 6', 'b 7', 'c 8', 'd 9', 'kd 2', 'kd 3', 'minillm 1', 'new 5', 'sft 4', 'teacher 0'].sort(),
    );
    expect([0, 1, 8, 9, 16, 17].map((n) => lineColor(n))).toEqual([
      { stroke: 'var(--s0)', dashed: false },
      { stroke: 'var(--s1)', dashed: false },
      { stroke: 'var(--s8)', dashed: false },
      { stroke: 'var(--s1)', dashed: true },
      { stroke: 'var(--s8)', dashed: true },
      { stroke: 'var(--s1)', dashed: true },
    ]);
  });

  it('writes colours out in an SVG file', () => {
    const inline =
      '<svg class="plot" fill="currentColor"><path stroke="var(--s1)" fill="var(--paper)"/></svg>';
    const file = standaloneSvg(inline);
    expect(file).toContain(`stroke="${seriesColors[1]!.light}" fill="#ffffff"`);
    checkXml(file);
  });
});

describe('shownInterval', () => {
  it('is the bootstrap’s, or mean ± t · standard error', () => {
    const number = { mean: 10, stderr: 1, n: 3 };
    expect(shownInterval({ ...number, interval: [8, 13] })).toEqual([8, 13]);
    expect(shownInterval(number)).toEqual([10 - 4.303, 10 + 4.303]);
    expect(shownInterval({ ...number, n: 2 })).toEqual([10 - 12.706, 10 + 12.706]);
    expect(shownInterval({ ...number, n: 500 })).toEqual([10 - 1.96, 10 + 1.96]);
    expect(shownInterval({ ...number, stderr: null })).toBeNull();
  });
});

describe('checkXml', () => {
  it.each([
    '<a><b></a></b>',
    '<a>',
    '<a/><b/>',
    '<a b=c/>',
    '<a b="1" b="2"/>',
    '<a>&nbsp;</a>',
    '<a b="<"/>',
    '<a>1 < 2</a>',
    '',
  ])('refuses %s', (text) => expect(() => checkXml(text)).toThrow());
  it('takes what is well-formed', () =>
    expect(() => checkXml('<a b="x > y"><c/>&amp; &#39;</a>')).not.toThrow());
});

describe('figures of rows', () => {
  it.each([2, 3])('%i rows: the first on top, all inside the frame', (count) => {
    const rows = Array.from({ length: count }, (_, i) => ({
      ...{ label: `row ${i}`, series: 'a', value: i + 1, low: i + 0.5, high: i + 2 },
    }));
    const { svg } = intervalFigure(rows, { name: 'f', title: 't', axis: 'x' });
    const height = Number(/viewBox="0 0 [\d.]+ ([\d.]+)"/.exec(svg)![1]);
    const at = [...svg.matchAll(/<circle[^>]*cy="([\d.]+)"/g)].map(([, y]) => Number(y));
    const dots =
      at.length > 0 ? at : [...svg.matchAll(/translate\([\d.]+,([\d.]+)\)/g)].map(([, y]) => Number(y));
    const own = dots.slice(0, count);
    expect(own).toHaveLength(count);
    expect([...own].sort((a, b) => a - b)).toEqual(own);
    for (const y of own) expect(y > 50 && y < height - 40).toBe(true);
  });
  it('a band of shares stays between 0 and 1', () => {
    const shares = Array.from({ length: 60 }, (_, step) => ({ step, value: step % 3 === 0 ? 0.9 : 1 }));
    for (const { low, high } of smooth(shares)) expect(low >= 0 && high <= 1).toBe(true);
    expect(bounds([-1, 2])).toEqual([-Infinity, Infinity]);
    expect(bounds([0.5, 3])).toEqual([0, Infinity]);
  });
});
