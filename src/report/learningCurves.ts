import { byLength, byObjective, logs, nameOf, slug } from './curveGroups.js';
import { panel, seriesOf, teacherLine, teacherPrefix, validName } from './curveSeries.js';
import type { Entry } from './entries.js';
import type { Figure } from './figure.js';
import { type LineColor, lineColor } from './palette.js';
import { displayName } from './runs.js';

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
  task_reward: 'Rewards of the task, weighted, per response',
  total_reward: 'Rewards of task and teacher, per response',
  response_length: 'Response length, tokens',
  ended: 'Share ended by EOS',
  repetition: 'Repetition rate',
  entropy: 'Entropy, nats per token',
  grad_norm: 'Gradient norm',
};

/** One reward of a task by itself. */
const isTaskReward = (name: string): boolean => name.startsWith('task_reward_');
const taskTitle = (name: string): string => `Reward ${name.slice('task_reward_'.length)}, per response`;

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

/** The method's own loss on the validation prompts: of two methods two quantities. */
const ownLoss = 'valid_objective';
const lossName = /(^|_)loss$/;

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
    const logging = shown.filter((entry) => logs(entry, name));
    const groups = byLength(logging);
    return groups.map((group) => {
      const { file, words } = groups.length > 1 ? nameOf(group) : { file: '', words: '' };
      return panel(
        `${prefix}-${name}${file}`,
        `${title}${words}`,
        group.flatMap((entry) => seriesOf(entry, name, entry.label, lineColor(colors.get(entry)!))),
        teacherLine(group, name),
      );
    });
  };

  const validNames = inOrder(
    Object.keys(validationTitles).map((name) => `valid_${name}`),
    (name) => validName.test(name) && name !== ownLoss,
  );
  const lossNames = [...names].filter(
    (name) => lossName.test(name) && !isTaskReward(name) && !validName.test(name),
  );
  const others = [...names].filter(
    (name) =>
      !validName.test(name) &&
      !lossName.test(name) &&
      !name.startsWith(teacherPrefix) &&
      !isTaskReward(name) &&
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
      figures: [
        ...Object.entries(policyQuantities),
        ...[...names].filter(isTaskReward).map((name): [string, string] => [name, taskTitle(name)]),
      ].flatMap(([name, title]) => overlay(name, title, 'training')),
      folded: false,
    },
    {
      title: 'Loss and its parts',
      explanation:
        'One panel a method: losses of different methods are different quantities and do not compare.',
      figures: [
        ...byObjective(trained.filter((entry) => logs(entry, ownLoss))).map((group) =>
          panel(
            `validation-objective-${slug(group[0]!.label)}`,
            `Validation loss, ${group.length > 1 ? displayName(group[0]!.method) : group[0]!.label}`,
            group.flatMap((entry) => seriesOf(entry, ownLoss, entry.label, lineColor(colors.get(entry)!))),
          ),
        ),
        ...trained.flatMap((entry) => lossPanel(entry, lossNames)),
      ],
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
  return series.length === 0 ? [] : [panel(`loss-${slug(entry.label)}`, `Loss, ${entry.label}`, series)];
}
