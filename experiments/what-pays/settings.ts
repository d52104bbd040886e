/** The settings in which the points are compared. */
import { type Points, points } from './points.js';

export interface Setting {
  /** A training configuration, relative to this folder. */
  base: string;
  /** Fields laid over it. */
  set?: Readonly<Record<string, unknown>>;
  /** Fields that hold paths under the setting's working directory (or, with ../, beside it). */
  inputs: Readonly<Record<string, string>>;
  /** Learning rates that every point is tuned over. */
  rates: readonly number[];
  seeds: readonly number[];
  steps: number;
  metrics: readonly string[];
  /** The metric that decides which point is best. */
  decides: { metric: string; better: 'more' | 'less' };
  /** Test rows under the working directory, or `test`: the test part of data.wordnet. */
  test: string;
  evaluation: Readonly<Record<string, unknown>>;
  /** Points that are not run here, and those that are only tuned. */
  without?: readonly string[];
  tunedOnly?: readonly string[];
}

/** Points that one setting answers for; a run of the others takes a minute of a core. */
const secondChoices = [
  'action-critic',
  'gamma-0.5',
  'mixed-prefix',
  'mixed-prefix-unclipped',
  'epochs-4-unclipped',
];

export const settings = {
  consequence: {
    base: 'consequence/base.yaml',
    inputs: {
      ...{ student: 'sft/best', teacher: 'teacher' },
      ...{ 'data.train': 'train.jsonl', 'data.valid': 'valid.jsonl', 'data.corpus': 'corpus.txt' },
    },
    rates: [3e-4, 1e-3, 3e-3],
    seeds: [1, 2, 3, 4, 5],
    steps: 200,
    decides: { metric: 'exact_match_sampled', better: 'more' },
    metrics: [
      'exact_match_sampled',
      'reverse_kl_seq',
      'reverse_kl_token',
      'forward_kl_seq',
      'lm_loss',
      'length',
    ],
    test: 'test.jsonl',
    evaluation: { seeds: [10, 20], batch_size: 256 },
  },
  wordnet: {
    base: '../table1/base.yaml',
    set: {
      ...{ method: 'minillm', 'objective.alpha': 0, 'objective.length_norm': 'off', 'objective.lm_coef': 0 },
      ...{ 'eval.prompts': 1000, 'checkpoint.every': 0 },
    },
    inputs: { student: '../../table1/students/small/best', teacher: '../../table1/teacher/best' },
    rates: [1e-4, 3e-4, 1e-3],
    seeds: [1, 2, 3, 4, 5],
    steps: 200,
    decides: { metric: 'rouge_l_sampled', better: 'more' },
    metrics: [
      'rouge_l_sampled',
      'reverse_kl_seq',
      'reverse_kl_token',
      'lm_loss',
      'length',
      'ended',
      'repetition',
    ],
    test: 'test',
    evaluation: { seeds: [10, 20], teacher_seeds: 1, batch_size: 256 },
    without: secondChoices,
    tunedOnly: [
      ...['sampled', 'no-baseline', 'critic', 'epochs-1', 'epochs-4'],
      ...['mixed-future', 'mixed-unclipped', 'gold-loss', 'text-loss'],
    ],
  },
  stories: {
    base: 'stories/base.yaml',
    inputs: {
      ...{ student: 'sft/best', teacher: 'teacher' },
      ...{ 'data.train': 'train.jsonl', 'data.valid': 'valid.jsonl', 'data.corpus': 'corpus.jsonl' },
    },
    rates: [3e-4, 1e-3, 3e-3],
    seeds: [1, 2, 3],
    steps: 100,
    decides: { metric: 'reverse_kl_seq', better: 'less' },
    metrics: [
      'reverse_kl_seq',
      'reverse_kl_token',
      'forward_kl_seq',
      'forward_kl_token',
      'ex_acc_err',
      'lm_loss',
      'length',
      'ended',
      'repetition',
      'distinct_4',
    ],
    test: 'test.jsonl',
    evaluation: { seeds: [10], batch_size: 256 },
    without: secondChoices,
  },
} satisfies Record<string, Setting>;

export type SettingName = keyof typeof settings;

const except = (names: readonly string[]): Points =>
  Object.fromEntries(Object.entries(points).filter(([name]) => !names.includes(name)));

/** The points that are tuned in a setting. */
export const tunedOf = ({ without = [] }: Setting): Points => except(without);

/** The points that are compared in a setting. */
export const comparedOf = ({ without = [], tunedOnly = [] }: Setting): Points =>
  except([...without, ...tunedOnly]);

interface Variation {
  setting: SettingName;
  /** The value that the setting's own runs have, and the others. */
  own: number;
  others: readonly number[];
  /** The points that are compared at each value. */
  points: readonly string[];
}

/** What else changes in a setting. */
export const variations = {
  /** Words of a sentence. */
  length: {
    ...{ setting: 'consequence', own: 16, others: [4, 8, 32, 64] },
    points: ['single', 'normed', 'per-token', 'gamma-0.9', 'future'],
  },
  /** Of a step. */
  rollouts: {
    ...{ setting: 'consequence', own: 32, others: [2, 4, 8] },
    points: ['single', 'future', 'sampled'],
  },
  /** The longest response. */
  tokens: {
    setting: 'stories',
    own: 128,
    others: [16],
    points: ['single', 'normed', 'per-token', 'future'],
  },
} as const satisfies Record<string, Variation>;

export type VariationName = keyof typeof variations;

/** Where the runs of a value work, under the experiment's directory. */
export function placeOf(name: VariationName, value: number): string {
  const { setting, own } = variations[name];
  return value === own ? setting : `${name}-${value}`;
}
