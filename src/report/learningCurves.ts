import { type Entry, meanAndDeviation } from './entries.js';
import { csv } from './escape.js';
import type { Figure } from './figure.js';
import { type Line, linePanel } from './linePanel.js';
import { type LineColor, lineColor } from './palette.js';
import type { Run } from './runs.js';
import { fewPoints, type SmoothPoint, smooth } from './smoothing.js';

/** A group of panels under one heading. */
export interface CurveGroup {
  title: string;
  explanation: string;
  figures: Figure[];
  /** Folded away at first: logged, but not what one looks at. */
  folded: boolean;
}

/**
 * Quantities of the sampling student, in the order of reading: what is minimised, what it pays with, how it trains. Not among
 * them is reverse_kl_k3: one token with a large e^r, 30,000 nats in a run of table1, hides the rest of its curve, and reverse_kl has
 * the same expectation, exact over the vocabulary.
 */
const policyQuantities: Record<string, string> = {
  reverse_kl: 'Reverse KL, nats per token',
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
  objective: "The method's own loss",
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

/** All learning curves that the metrics.jsonl of the runs allow, grouped. */
export function learningCurves(entries: readonly Entry[], colors: ReadonlyMap<Entry, number>): CurveGroup[] {
  const trained = entries.filter((entry) => entry.runs.some((run) => run.logged.length > 0));
  const names = new Set(
    trained.flatMap((entry) =>
      entry.runs.flatMap((run) => run.logged.flatMap((row) => Object.keys(row.values))),
    ),
  );
  const inOrder = (known: string[], take: (name: string) => boolean): string[] => [
    ...known.filter((name) => names.has(name)),
    ...[...names].filter((name) => take(name) && !known.includes(name)),
  ];
  const overlay = (name: string, title: string, prefix: string): Figure[] => {
    // Supervised methods log the gold responses' length under the same name: another quantity.
    const shown =
      name === 'response_length'
        ? trained.filter((entry) =>
            entry.runs.some((run) =>
              run.logged.some((row) => 'reward' in row.values || 'reverse_kl' in row.values),
            ),
          )
        : trained;
    const series = shown.flatMap((entry) =>
      seriesOf(entry, name, entry.label, lineColor(colors.get(entry)!)),
    );
    return series.length === 0 ? [] : [panel(`${prefix}-${name}`, title, series, teacherLine(shown, name))];
  };

  const validNames = inOrder(
    Object.keys(validationTitles).map((name) => `valid_${name}`),
    (name) => validName.test(name),
  );
  const lossNames = [...names].filter((name) => lossName.test(name) && !validName.test(name));
  const others = [...names].filter(
    (name) =>
      !validName.test(name) &&
      !lossName.test(name) &&
      !name.startsWith(teacherPrefix) &&
      !Object.hasOwn(policyQuantities, name),
  );
  const several = trained.some((entry) => entry.runs.length > 1);
  const bands = several
    ? 'Where a method was trained with several seeds the line is their mean and the band one standard deviation over seeds. '
    : '';
  const groups: CurveGroup[] = [
    {
      title: 'On validation prompts',
      explanation: `Measured on held-out prompts during training; each point is one validation. ${bands}A dashed grey line is the teacher on the same prompts.`,
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
      explanation: `Measured on the responses of each optimizer step. Lines are smoothed, the band of a single run is one standard deviation around them. ${bands}`,
      figures: Object.entries(policyQuantities).flatMap(([name, title]) => overlay(name, title, 'training')),
      folded: false,
    },
    {
      title: 'Loss and its parts',
      explanation:
        'One panel a method: losses of different methods are different quantities and do not compare.',
      figures: trained.flatMap((entry) => lossPanel(entry, lossNames)),
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

/** The curve of one quantity of one entry in one phase: that of each run, and what is drawn of them. */
interface Series {
  label: string;
  phase: string;
  color: LineColor;
  runs: { run: string; points: SmoothPoint[] }[];
}

/** Far ends of the palette first: the near ones mean methods in every other panel. */
const partColors = [6, 5, 4, 3, 2, 1, 7];
const ink: LineColor = { stroke: 'currentColor', dashed: false };

function lossPanel(entry: Entry, lossNames: readonly string[]): Figure[] {
  const total = lossNames.filter((name) => name === 'loss' || name === 'total_loss');
  const own = (name: string): boolean =>
    entry.runs.some((run) => run.logged.some((row) => row.values[name] !== undefined));
  const parts = lossNames.filter((name) => name !== 'loss' && name !== 'total_loss' && own(name));
  const series = [
    ...total.flatMap((name) => seriesOf(entry, name, 'total', ink)),
    ...parts.flatMap((name, i) =>
      seriesOf(
        entry,
        name,
        name.replace(lossName, '') || name,
        lineColor(partColors[i % partColors.length]!),
      ),
    ),
  ];
  const slug = entry.label.toLowerCase().replace(/[^a-z0-9]+/g, '-');
  return series.length === 0 ? [] : [panel(`loss-${slug}`, `Loss, ${entry.label}`, series)];
}

function seriesOf(entry: Entry, name: string, label: string, color: LineColor): Series[] {
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

function panel(name: string, title: string, series: readonly Series[], references: Line[] = []): Figure {
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

const teacherPrefix = 'teacher_';

/** The teacher's value on the same validation prompts, as a level across the panel; runs log it once. */
function teacherLine(entries: readonly Entry[], name: string): Line[] {
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
