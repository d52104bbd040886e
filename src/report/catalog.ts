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
  /** Its name above a column of the main table; absent: not in it. */
  column?: string;
}

interface Options {
  scale?: number;
  figure?: boolean;
  column?: string;
}
type Entry = [label: string, unit: string, better: Direction, options?: Options];

const figure = { figure: true };
const share = { scale: 100 };

/** The metrics that are known by name, in the order in which they are shown. */
const known: Record<string, Record<string, Entry>> = {
  Quality: {
    rouge_l_sampled: ['Rouge-L, sampled', '', 'higher', { figure: true, column: 'Rouge-L sampled' }],
    rouge_l_greedy: ['Rouge-L, greedy', '', 'higher', { figure: true, column: 'Rouge-L greedy' }],
    exact_match: ['Exact match, greedy', '%', 'higher'],
    exact_match_sampled: ['Exact match, sampled', '%', 'higher'],
    lm_loss: ['LM loss on references', 'nats/token', 'lower', { figure: true, column: 'LM loss' }],
    ece: ['Calibration error of the token', '', 'lower', { column: 'ECE' }],
    answer_accuracy: ['Accuracy of the answer', '%', 'higher'],
    answer_ece: ['Calibration error of the answer', '', 'lower'],
  },
  'Distance from the teacher': {
    reverse_kl_seq: [
      'Reverse KL per response',
      'nats',
      'lower',
      { figure: true, column: 'Reverse KL /response' },
    ],
    reverse_kl_token: [
      'Reverse KL per token',
      'nats',
      'lower',
      { figure: true, column: 'Reverse KL /token' },
    ],
    forward_kl_seq: ['Forward KL per response', 'nats', 'lower', figure],
    forward_kl_token: [
      'Forward KL per token',
      'nats',
      'lower',
      { figure: true, column: 'Forward KL /token' },
    ],
    ex_acc_err: ['Excess accumulated error', '%', 'lower', { figure: true, column: 'ExAccErr' }],
    reverse_kl_k1: ['Reverse KL per response, k1', 'nats', 'lower'],
    reverse_kl_k2: ['Reverse KL per response, k2', 'nats', 'lower'],
    reverse_kl_k3: ['Reverse KL per response, k3', 'nats', 'lower'],
    reverse_kl_k1_token: ['Reverse KL per token, k1', 'nats', 'lower'],
    reverse_kl_k2_token: ['Reverse KL per token, k2', 'nats', 'lower'],
    reverse_kl_k3_token: ['Reverse KL per token, k3', 'nats', 'lower'],
    forward_kl_k1: ['Forward KL per response, k1', 'nats', 'lower'],
    forward_kl_k2: ['Forward KL per response, k2', 'nats', 'lower'],
    forward_kl_k3: ['Forward KL per response, k3', 'nats', 'lower'],
    forward_kl_k1_token: ['Forward KL per token, k1', 'nats', 'lower'],
    forward_kl_k2_token: ['Forward KL per token, k2', 'nats', 'lower'],
    forward_kl_k3_token: ['Forward KL per token, k3', 'nats', 'lower'],
  },
  Diversity: {
    sample_diversity: ['Sample diversity per prompt', '', 'teacher', { figure: true, column: 'Diversity' }],
    distinct_1: ['Distinct-1', '', 'teacher'],
    distinct_2: ['Distinct-2', '', 'teacher'],
    distinct_3: ['Distinct-3', '', 'teacher'],
    distinct_4: ['Distinct-4', '', 'teacher'],
  },
  Form: {
    length: ['Response length', 'tokens', 'teacher', { figure: true, column: 'Length' }],
    ended: ['Ended by itself', '%', 'teacher', share],
    empty: ['Empty', '%', 'teacher', share],
    repetition: ['Repeated 4-grams', '%', 'teacher', share],
  },
  Cost: {
    train_seconds: ['Training time', '', null, { column: 'Training' }],
    steps: ['Optimizer steps', '', null],
  },
};

const catalog = new Map(
  Object.entries(known).flatMap(([group, entries]) =>
    Object.entries(entries).map(([name, [label, unit, better, options = {}]]): [string, MetricInfo] => [
      name,
      { ...{ label, unit, group, better, scale: 1, figure: false }, ...options },
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
