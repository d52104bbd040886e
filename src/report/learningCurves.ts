import { curvePanel, type Series } from './curvePanel.js';
import type { Figure } from './figure.js';
import { colorVariable } from './palette.js';
import type { Run } from './runs.js';
import { smooth } from './smoothing.js';

/** A group of panels under one heading. */
export interface CurveGroup {
  title: string;
  explanation: string;
  figures: Figure[];
  /** Folded away at first: logged, but not what one looks at. */
  folded: boolean;
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
    return series.length === 0 ? [] : [curvePanel(`${prefix}-${name}`, title, series)];
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
  return series.length === 0 ? [] : [curvePanel(`loss-${slug}`, `Loss, ${run.label}`, series)];
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
