import * as Plot from '@observablehq/plot';
import { csv } from './escape.js';
import { clip, drawSvg, type Figure } from './figure.js';
import { brief, tick } from './format.js';
import { colorVariable } from './palette.js';
import type { Run } from './runs.js';
import { fewPoints, type SmoothPoint, smooth, thin } from './smoothing.js';

/** A group of panels under one heading. */
export interface CurveGroup {
  title: string;
  explanation: string;
  figures: Figure[];
  /** Folded away at first: logged, but not what one looks at. */
  folded: boolean;
}

interface Series {
  run: string;
  phase: string;
  label: string;
  color: string;
  points: SmoothPoint[];
}

/** Quantities of the sampling student, in the order of reading: what is minimised, what it pays with, how it trains. */
const policyQuantities: Record<string, string> = {
  reverse_kl: 'Reverse KL, nats per token',
  reverse_kl_k3: 'Reverse KL (k3), nats per token',
  reverse_kl_sequence: 'Reverse KL, nats per response',
  reward: 'Reward per token',
  response_length: 'Response length, tokens',
  ended: 'Share ended by EOS',
  repetition: 'Repetition rate',
  entropy: 'Entropy, nats per token',
  grad_norm: 'Gradient norm',
};

const validationTitles: Record<string, string> = {
  rouge_l_sampled: 'Rouge-L, sampled',
  rouge_l_greedy: 'Rouge-L, greedy',
  exact_match: 'Exact match, %',
  lm_loss: 'LM loss, nats per token',
  reverse_kl_seq: 'Reverse KL, nats per response',
  reverse_kl_token: 'Reverse KL, nats per token',
  length: 'Response length, tokens',
  ended: 'Share ended by EOS',
  empty: 'Share empty',
  repetition: 'Repetition rate',
};

const lossName = /(^|_)loss$/;
const validName = /^(valid|eval|test)_/;

const spoken = (name: string): string =>
  name.replaceAll('_', ' ').replace(/^./, (first) => first.toUpperCase());

/** All learning curves that the runs' metrics.jsonl allow, grouped. */
export function learningCurves(runs: readonly Run[], colors: ReadonlyMap<Run, number>): CurveGroup[] {
  const trained = runs.filter((run) => run.logged.length > 0);
  const names = new Set(trained.flatMap((run) => run.logged.flatMap((row) => Object.keys(row.values))));
  const inOrder = (known: string[], take: (name: string) => boolean): string[] => [
    ...known.filter((name) => names.has(name)),
    ...[...names].filter((name) => take(name) && !known.includes(name)),
  ];
  const overlay = (name: string, title: string, prefix: string): Figure[] => {
    // Supervised methods log the gold responses' length under the same name: another quantity.
    const shown =
      name === 'response_length'
        ? trained.filter((run) =>
            run.logged.some((row) => 'reward' in row.values || 'reverse_kl' in row.values),
          )
        : trained;
    const series = shown.flatMap((run) => seriesOf(run, name, run.label, colorVariable(colors.get(run)!)));
    return series.length === 0 ? [] : [panel(`${prefix}-${name}`, title, series)];
  };

  const validNames = inOrder(
    Object.keys(validationTitles).map((name) => `valid_${name}`),
    (name) => validName.test(name),
  );
  const lossNames = [...names].filter((name) => lossName.test(name) && !validName.test(name));
  const others = [...names].filter(
    (name) => !validName.test(name) && !lossName.test(name) && !Object.hasOwn(policyQuantities, name),
  );
  const groups: CurveGroup[] = [
    {
      title: 'On validation prompts',
      explanation: 'Measured on held-out prompts during training; each point is one validation.',
      figures: validNames.flatMap((name) => {
        const bare = name.replace(validName, '');
        return overlay(
          name,
          Object.hasOwn(validationTitles, bare) ? validationTitles[bare]! : spoken(bare),
          'validation',
        );
      }),
      folded: false,
    },
    {
      title: 'The student while it trains',
      explanation:
        'Measured on the responses of each optimizer step. Lines are smoothed, bands one standard deviation.',
      figures: Object.entries(policyQuantities).flatMap(([name, title]) => overlay(name, title, 'training')),
      folded: false,
    },
    {
      title: 'Loss and its parts',
      explanation:
        'One panel a run: losses of different methods are different quantities and do not compare.',
      figures: trained.flatMap((run) => lossPanel(run, lossNames)),
      folded: false,
    },
    {
      title: 'Everything else that was logged',
      explanation: 'Under the names of metrics.jsonl.',
      figures: others.flatMap((name) => overlay(name, spoken(name), 'logged')),
      folded: true,
    },
  ];
  return groups.filter((group) => group.figures.length > 0);
}

/** Far ends of the palette first: the near ones mean methods in every other panel. */
const partColors = [6, 5, 4, 3, 2, 1, 7];

function lossPanel(run: Run, lossNames: readonly string[]): Figure[] {
  const total = lossNames.filter((name) => name === 'loss' || name === 'total_loss');
  const own = (name: string): boolean => run.logged.some((row) => row.values[name] !== undefined);
  const parts = lossNames.filter((name) => name !== 'loss' && name !== 'total_loss' && own(name));
  const series = [
    ...total.flatMap((name) => seriesOf(run, name, 'total', 'currentColor')),
    ...parts.flatMap((name, i) =>
      seriesOf(
        run,
        name,
        name.replace(lossName, '') || name,
        colorVariable(partColors[i % partColors.length]!),
      ),
    ),
  ];
  const slug = run.label.toLowerCase().replace(/[^a-z0-9]+/g, '-');
  return series.length === 0 ? [] : [panel(`loss-${slug}`, `Loss, ${run.label}`, series)];
}

/** The curve of one quantity in one run, a series for every phase that logged it. */
function seriesOf(run: Run, name: string, label: string, color: string): Series[] {
  const byPhase = new Map<string, Map<number, number>>();
  for (const { step, phase, values } of run.logged) {
    if (values[name] === undefined) continue;
    const points = byPhase.get(phase) ?? new Map<number, number>();
    byPhase.set(phase, points.set(step, values[name]));
  }
  return [...byPhase].map(([phase, points]) => ({
    run: run.label,
    phase,
    label: byPhase.size > 1 ? `${label} ${phase}` : label,
    color,
    points: smooth([...points].sort(([a], [b]) => a - b).map(([step, value]) => ({ step, value }))),
  }));
}

const size = { width: 340, height: 226, top: 28, left: 46, bottom: 38 };

/** Moves labels apart to at least `gap` pixels, keeping their order, within [top, bottom]. */
export function spreadLabels(wanted: readonly number[], gap: number, top: number, bottom: number): number[] {
  const order = wanted.map((_, i) => i).sort((a, b) => wanted[a]! - wanted[b]!);
  const placed = [...wanted];
  let floor = top;
  for (const i of order) {
    placed[i] = Math.max(placed[i]!, floor);
    floor = placed[i]! + gap;
  }
  let ceiling = bottom;
  for (const i of order.reverse()) {
    placed[i] = Math.min(placed[i]!, ceiling);
    ceiling = placed[i]! - gap;
  }
  return placed;
}

function panel(name: string, title: string, series: readonly Series[]): Figure {
  const all = series.flatMap((one) => one.points);
  const low = extreme(all, Math.min, 'low');
  const high = extreme(all, Math.max, 'high');
  const pad = (high - low || Math.abs(high) || 1) * 0.05;
  const domain: [number, number] = [low - pad, high + pad];
  const lastStep = extreme(all, Math.max, 'step');
  const firstStep = extreme(all, Math.min, 'step');
  const labelled = series.length > 1;
  const right = labelled ? 78 : 14;
  const inner = size.height - size.top - size.bottom;
  const toPixel = (y: number): number => size.top + ((domain[1] - y) / (domain[1] - domain[0])) * inner;
  const ends = series.map((one) => toPixel(one.points.at(-1)!.mean));
  const places = spreadLabels(ends, 13, size.top, size.height - size.bottom);
  const drawn = series.map((one) => ({
    ...one,
    points: thin(one.points, 150),
    few: one.points.length < fewPoints,
  }));
  const svg = drawSvg(
    {
      width: size.width,
      height: size.height,
      marginTop: size.top,
      marginLeft: size.left,
      marginRight: right,
      marginBottom: size.bottom,
      x: {
        domain: [Math.min(firstStep, lastStep - 1), lastStep],
        label: 'step',
        labelAnchor: 'center',
        labelArrow: 'none',
        ticks: 4,
        tickFormat: tick,
        tickSize: 3,
      },
      y: { domain, label: null, ticks: 4, tickFormat: tick, tickSize: 0 },
      marks: [
        Plot.gridY({ ticks: 4, stroke: 'currentColor', strokeOpacity: 0.1 }),
        drawn
          .filter((one) => !one.few)
          .map((one) =>
            Plot.areaY(one.points, { x: 'step', y1: 'low', y2: 'high', fill: one.color, fillOpacity: 0.13 }),
          ),
        drawn.map((one) =>
          Plot.lineY(one.points, { x: 'step', y: 'mean', stroke: one.color, strokeWidth: 1.8 }),
        ),
        drawn
          .filter((one) => one.few)
          .map((one) => Plot.dot(one.points, { x: 'step', y: 'mean', fill: one.color, r: 2.6 })),
        labelled
          ? series.map((one, i) =>
              Plot.text([clip(one.label, 12)], {
                frameAnchor: 'top-right',
                textAnchor: 'start',
                lineAnchor: 'middle',
                dx: 8,
                dy: places[i]! - size.top,
                fill: one.color,
                fontWeight: 600,
              }),
            )
          : [],
      ],
    },
    title,
    `${title}, by optimizer step: ${series.map((one) => `${one.label} from ${brief(one.points[0]!.mean)} to ${brief(one.points.at(-1)!.mean)}`).join('; ')}`,
  );
  const rows = series.flatMap((one) =>
    one.points.map((p) => [one.run, one.label, one.phase, p.step, p.value, p.mean, p.low, p.high]),
  );
  return {
    name,
    title,
    svg,
    csv: csv(['run', 'series', 'phase', 'step', 'value', 'smoothed', 'low', 'high'], rows),
  };
}

/** The least or greatest of one field; `Math.max(...list)` would overflow the stack on a long run. */
function extreme(
  points: readonly SmoothPoint[],
  pick: (a: number, b: number) => number,
  field: 'low' | 'high' | 'step',
): number {
  return points.reduce((best, point) => pick(best, point[field]), points[0]![field]);
}
