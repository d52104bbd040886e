/** Which way is better; `teacher`: neither more nor less is, only being like the teacher. */
export type Direction = 'higher' | 'lower' | 'teacher' | null;

/** How a metric of evaluation.json is named and read. */
export interface MetricInfo {
  label: string;
  unit: string;
  group: string;
  better: Direction;
  /** Shown value = stored value · scale (shares are shown in per cent). */
  scale: number;
  /** Has a panel of its own among the comparison figures. */
  figure: boolean;
}

type Entry = [label: string, unit: string, better: Direction, options?: { scale?: number; figure?: boolean }];

const figure = { figure: true };
const share = { scale: 100 };

/** The metrics that are known by name, in the order in which they are shown. */
const known: Record<string, Record<string, Entry>> = {
  Quality: {
    rouge_l_sampled: ['Rouge-L, sampled', '', 'higher', figure],
    rouge_l_greedy: ['Rouge-L, greedy', '', 'higher', figure],
    exact_match: ['Exact match', '%', 'higher'],
    lm_loss: ['LM loss on references', 'nats/token', 'lower', figure],
    ece: ['Calibration error', '', 'lower'],
  },
  'Distance from the teacher': {
    reverse_kl_seq: ['Reverse KL per response', 'nats', 'lower', figure],
    reverse_kl_token: ['Reverse KL per token', 'nats', 'lower', figure],
    reverse_kl_k1: ['Reverse KL, k1', 'nats', 'lower'],
    reverse_kl_k2: ['Reverse KL, k2', 'nats', 'lower'],
    reverse_kl_k3: ['Reverse KL, k3', 'nats', 'lower'],
    forward_kl_seq: ['Forward KL per response', 'nats', 'lower', figure],
    forward_kl_token: ['Forward KL per token', 'nats', 'lower', figure],
  },
  Diversity: {
    sample_diversity: ['Sample diversity per prompt', '', 'teacher', figure],
    distinct_1: ['Distinct-1', '', 'teacher'],
    distinct_2: ['Distinct-2', '', 'teacher'],
    distinct_3: ['Distinct-3', '', 'teacher'],
    distinct_4: ['Distinct-4', '', 'teacher'],
  },
  Form: {
    length: ['Response length', 'tokens', 'teacher', figure],
    ended: ['Ended by itself', '%', 'teacher', share],
    empty: ['Empty', '%', 'teacher', share],
    repetition: ['Repeated 4-grams', '%', 'teacher', share],
  },
  Cost: {
    train_seconds: ['Training time', 's', null],
    steps: ['Optimizer steps', '', null],
  },
};

const catalog = new Map(
  Object.entries(known).flatMap(([group, entries]) =>
    Object.entries(entries).map(([name, [label, unit, better, options = {}]]): [string, MetricInfo] => [
      name,
      { label, unit, group, better, scale: options.scale ?? 1, figure: options.figure ?? false },
    ]),
  ),
);

/** What is known of a metric; an unknown one is shown under its own name, without a verdict. */
export function metricInfo(name: string): MetricInfo {
  const label = name.replaceAll('_', ' ');
  return catalog.get(name) ?? { label, unit: '', group: 'Other', better: null, scale: 1, figure: false };
}

/** All metric names that occur, known ones first in the order of the catalog, then the others as they came. */
export function orderedMetrics(names: Iterable<string>): string[] {
  const present = new Set(names);
  const order = [...catalog.keys()];
  const cost = order.filter((name) => catalog.get(name)!.group === 'Cost');
  const first = order.filter((name) => present.has(name) && !cost.includes(name));
  const others = [...present].filter((name) => !catalog.has(name));
  return [...first, ...others, ...cost.filter((name) => present.has(name))];
}
