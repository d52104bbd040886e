/** The settings in which the points are compared. */

export interface Setting {
  /** A training configuration, relative to this folder. */
  base: string;
  /** Fields that hold paths under the setting's working directory (or, with ../, beside it). */
  inputs: Readonly<Record<string, string>>;
  /** Learning rates that every point is tuned over. */
  rates: readonly number[];
  seeds: readonly number[];
  steps: number;
  /** By what a point is judged on test prompts. */
  decides: { metric: string; best: 'most' | 'least' };
  metrics: readonly string[];
  /** Test rows under the working directory, or `test`: the test part of data.wordnet. */
  test: string;
  evaluation: Readonly<Record<string, unknown>>;
}

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
    decides: { metric: 'exact_match_sampled', best: 'most' },
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
    base: 'wordnet.yaml',
    inputs: { student: '../../table1/students/small/best', teacher: '../../table1/teacher/best' },
    rates: [1e-4, 3e-4, 1e-3],
    seeds: [1, 2, 3, 4, 5],
    steps: 200,
    decides: { metric: 'rouge_l_sampled', best: 'most' },
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
    evaluation: { seeds: [10, 20, 30], teacher_seeds: 1, batch_size: 256 },
  },
} satisfies Record<string, Setting>;

export type SettingName = keyof typeof settings;

/** Of `consequence`: sentences of other lengths than 16, and rollouts of a step other than 32. */
export const lengths = [4, 8, 32, 64] as const;
export const rolloutCounts = [2, 4, 8] as const;
