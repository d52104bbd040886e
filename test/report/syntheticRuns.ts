import { mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { normal, type Rng, stream } from '../../src/random/streams.js';

/** What one made-up run looks like: final numbers and the way there. */
interface Shape {
  model: string;
  rouge: number;
  greedy: number;
  reverse: number;
  forward: number;
  lm: number;
  length: number;
  diversity: number;
  seconds: number;
}

const shapes: Record<string, Shape> = {
  teacher: {
    model: 'Teacher',
    rouge: 14.4,
    greedy: 25.7,
    reverse: 0,
    forward: 0,
    lm: 3.05,
    length: 9.9,
    diversity: 0.81,
    seconds: 0,
  },
  sft: {
    model: 'SFT',
    rouge: 11.5,
    greedy: 19.0,
    reverse: 0.991,
    forward: 0.865,
    lm: 3.89,
    length: 9.3,
    diversity: 0.86,
    seconds: 19,
  },
  kd: {
    model: 'KD',
    rouge: 11.7,
    greedy: 18.5,
    reverse: 0.918,
    forward: 0.792,
    lm: 3.86,
    length: 9.3,
    diversity: 0.855,
    seconds: 43,
  },
  babyllama: {
    model: 'BabyLlama',
    rouge: 11.6,
    greedy: 18.8,
    reverse: 0.94,
    forward: 0.81,
    lm: 3.88,
    length: 9.2,
    diversity: 0.85,
    seconds: 44,
  },
  minillm: {
    model: 'MiniLLM',
    rouge: 12.6,
    greedy: 18.9,
    reverse: 0.779,
    forward: 0.849,
    lm: 4.05,
    length: 8.7,
    diversity: 0.79,
    seconds: 112,
  },
};

const answers: Record<string, string[]> = {
  teacher: [' a', ' gap', ' or', ' opening', ' between', ' masses', ' of', ' cloud', '<|end|>'],
  sft: [' a', ' narrow', ' piece', ' of', ' land', ' or', ' of', ' a', ' body', ' of', ' water', '<|end|>'],
  kd: [' a', ' small', ' opening', ' in', ' the', ' ground', '<|end|>'],
  babyllama: [' an', ' open', ' space', ' between', ' two', ' things', '<|end|>'],
  minillm: [' an', ' opening', ' between', ' masses', '<|end|>'],
};

const words = [
  'rift',
  'unregulated',
  'acyclic',
  'questioning',
  'migrant',
  'movable',
  'protective',
  'traveler',
];
const jsonl = (rows: object[]): string => rows.map((row) => `${JSON.stringify(row)}\n`).join('');

export interface SyntheticOptions {
  steps?: number;
  prompts?: number;
  methods?: string[];
  /** Training seeds of every student; with several a run is called METHOD_seed=N. */
  seeds?: number[];
}

/** Fills `root` with one run directory a method, in the layout and with the names that training writes. */
export function writeSyntheticRuns(root: string, options: SyntheticOptions = {}): void {
  const { steps = 300, prompts = 12, methods = Object.keys(shapes), seeds = [1] } = options;
  const all = methods.flatMap((method) =>
    (method === 'teacher' ? seeds.slice(0, 1) : seeds).map((seed) => ({ method, seed })),
  );
  for (const { method, seed } of all) {
    const several = seeds.length > 1 && method !== 'teacher';
    const name = several ? `${method}_seed=${seed}` : method;
    const directory = path.join(root, name);
    const rng = stream(seed, 'synthetic', method);
    mkdirSync(path.join(directory, 'samples'), { recursive: true });
    const file = (name: string, text: string): void => writeFileSync(path.join(directory, name), text);
    file('evaluation.json', JSON.stringify(evaluation(method, several ? name : shapes[method]!.model, rng)));
    file('samples/eval.jsonl', jsonl(samples(method, prompts, rng)));
    const environment = {
      package: 'minillm-rl 0.1.0',
      node: 'v20.20.2',
      backend: 'tensorflow',
      threads: 2,
      cores: 2,
      cpu: 'Example CPU',
      seed,
      git_commit: '0123456789abcdef0123456789abcdef01234567',
    };
    file('environment.json', JSON.stringify(environment));
    if (method === 'teacher') continue;
    file('metrics.jsonl', jsonl(metrics(method, steps, rng)));
    file('config.resolved.yaml', config(method, steps, seed));
  }
}

function evaluation(method: string, model: string, rng: Rng): object {
  const own = shapes[method]!;
  // Another training seed is another student.
  const off = model === own.model ? 0 : 0.02 * normal(rng);
  const s = {
    ...own,
    rouge: own.rouge * (1 + off),
    reverse: own.reverse * (1 - off),
    lm: own.lm * (1 - off / 4),
  };
  const measured = (mean: number, stderr: number, n = 5): object => ({
    mean,
    stderr,
    n,
    interval: [mean - 2.2 * stderr, mean + 2.1 * stderr],
  });
  return {
    model,
    method: model,
    data: 'test.jsonl',
    prompts: 200,
    prompt_set: '0123456789abcdef',
    seeds: [10, 20, 30, 40, 50],
    metrics: {
      rouge_l_sampled: measured(s.rouge, 0.21),
      rouge_l_greedy: measured(s.greedy, 1.1, 500),
      exact_match: measured(s.greedy / 5, 0.8, 500),
      reverse_kl_seq: measured(s.reverse * s.length, 0.13),
      reverse_kl_token: measured(s.reverse, 0.012),
      forward_kl_seq: measured(s.forward * 9.9, 0.11),
      forward_kl_token: measured(s.forward, 0.01),
      lm_loss: measured(s.lm, 0.05, 500),
      sample_diversity: measured(s.diversity, 0.008, 500),
      distinct_4: measured(0.98, 0.001),
      length: measured(s.length, 0.12),
      ended: measured(0.985, 0.002),
      empty: measured(method === 'minillm' ? 0.012 : 0.004, 0.001),
      repetition: measured(0.006, 0.001),
      ece: { mean: 0.05 + s.reverse / 20, stderr: null, n: 1 },
      ...(method !== 'teacher' && { ex_acc_err: measured(18 * s.reverse, 0.8) }),
    },
    curves: curves(s, method === 'teacher'),
    per_prompt: {
      rouge_l_sampled: perPrompt(s.rouge, 9),
      reverse_kl_seq: perPrompt(s.reverse * s.length, 3),
      lm_loss: perPrompt(s.lm, 0.8),
    },
    ...(method !== 'teacher' && { train_seconds: s.seconds, steps: 300 }),
  };
}

/** What a prompt is like is the same for every model: the first stream. */
function perPrompt(mean: number, spread: number): number[] {
  const hard = stream(1, 'synthetic', 'prompts');
  const own = stream(1, 'synthetic', mean);
  return Array.from({ length: 200 }, () => mean + spread * normal(hard) + 0.3 * spread * normal(own));
}

function curves(s: Shape, isTeacher: boolean): object {
  const lengths = Array.from({ length: 30 }, (_, i) => i + 1);
  const excess = lengths.map((l) => (isTeacher ? null : 20 * s.reverse * (1 - Math.exp((1 - l) / 6))));
  const counts = lengths.map((l) => Math.round(1000 * Math.exp(-(((l - s.length) / 4) ** 2))));
  return {
    exposure_bias: {
      student_error: lengths.map((l) => s.reverse * (1 + 0.3 * (1 - Math.exp((1 - l) / 6)))),
      teacher_error: lengths.map(() => s.reverse),
      excess_percent: excess,
      excess_stderr: excess.map((x) => (x === null ? null : 0.6)),
      reached: lengths.map((l) => Math.exp(-((l / 18) ** 2))),
      at: 9,
    },
    calibration: Array.from({ length: 10 }, (_, b) => {
      const confidence = b === 0 ? null : (b + 0.5) / 10;
      const accuracy = confidence === null ? null : Math.max(0, confidence - 0.12 * s.reverse * confidence);
      return { low: b / 10, high: (b + 1) / 10, count: b === 0 ? 0 : 400 - 20 * b, confidence, accuracy };
    }),
    length: { edges: [...lengths, 31], counts },
    reward: {
      edges: Array.from({ length: 33 }, (_, i) => -6 + i / 4),
      counts: Array.from({ length: 32 }, (_, i) =>
        Math.round(3000 * Math.exp(-Math.abs(i - 23) / (4 * s.reverse + 1))),
      ),
    },
  };
}

function metrics(method: string, steps: number, rng: Rng): object[] {
  const s = shapes[method]!;
  const way = (from: number, to: number, step: number): number =>
    to + (from - to) * Math.exp((-4 * step) / steps);
  const rows: object[] = [];
  const head = (step: number, phase: string): object => ({
    step,
    round: Math.ceil(step / 4),
    phase,
    wall_s: step * 0.4,
  });
  const validate = (step: number): void => {
    const noisy = (x: number, by: number): number => x + by * normal(rng);
    rows.push({
      ...head(step, 'valid'),
      valid_lm_loss: noisy(way(3.92, s.lm, step), 0.01),
      ...(method !== 'sft' && {
        valid_rouge_l_sampled: noisy(way(10.7, s.rouge, step), 0.25),
        valid_reverse_kl_token: noisy(way(1.0, s.reverse, step), 0.01),
        valid_length: noisy(way(9.5, s.length, step), 0.1),
        valid_ended: noisy(0.985, 0.003),
        ...(step === 0 && { teacher_length: 9.9, teacher_ended: 0.99 }),
      }),
    });
  };
  validate(0);
  for (let step = 1; step <= steps; step++) {
    const noise = normal(rng);
    const policy = {
      reward: way(-1.02, -s.reverse, step) + 0.05 * noise,
      return: -0.4 + 0.1 * normal(rng),
      advantage_std: 0.9 + 0.05 * normal(rng),
      importance_weight: 1 + 0.02 * normal(rng),
      reverse_kl_k3: way(1.05, s.reverse, step) + 0.09 * normal(rng),
      reverse_kl: way(1.0, s.reverse, step) + 0.04 * noise,
      entropy: way(3.1, 2.6, step) + 0.05 * normal(rng),
      response_length: way(9.5, s.length, step) + 0.35 * normal(rng),
      ended: 0.98 + 0.01 * normal(rng),
      pg_loss: way(0.5, 0.1, step) + 0.1 * normal(rng),
      reg_loss: way(1.0, s.reverse, step) + 0.03 * normal(rng),
      pt_loss: 4.1 + 0.05 * normal(rng),
    };
    const supervised = {
      response_length: 9.6 + 0.3 * normal(rng),
      ...(method !== 'sft' && {
        ce_loss: way(3.9, s.lm, step) + 0.1 * normal(rng),
        kd_loss: way(3.7, 3.4, step) + 0.08 * normal(rng),
      }),
    };
    rows.push({
      ...head(step, 'train'),
      ...(method === 'minillm' ? policy : supervised),
      loss: way(method === 'minillm' ? 5.6 : 3.9, method === 'minillm' ? 5 : s.lm, step) + 0.12 * normal(rng),
      grad_norm: way(2.4, 0.9, step) * Math.exp(0.25 * normal(rng)),
      lr: 0.001 * Math.min(1, step / 20) * (0.55 + 0.45 * Math.cos((Math.PI * step) / steps)),
    });
    if (step % Math.ceil(steps / 6) === 0) validate(step);
  }
  return rows;
}

function samples(method: string, prompts: number, rng: Rng): object[] {
  return Array.from({ length: prompts }, (_, index) => {
    const tokens = answers[method]!;
    const logprobs = tokens.map(() => -Math.abs(1.6 * normal(rng)));
    const teacher = logprobs.map((q) =>
      method === 'teacher' ? q : Math.min(-0.01, q - 0.6 + 1.5 * normal(rng)),
    );
    return {
      index,
      prompt: `Below is an instruction that describes a task, paired with an input that provides further context. Write a response that appropriately completes the request.\n\n### Instruction:\nDefine the word.\n\n### Input:\n${words[index % words.length]}\n\n### Response:\n`,
      reference: 'a gap between cloud masses',
      text: tokens.slice(0, -1).join('').trim(),
      tokens,
      logprobs,
      teacher_logprobs: teacher,
      finished: index % 5 !== 4,
    };
  });
}

function config(method: string, steps: number, seed: number): string {
  return `method: ${method}
seed: ${seed}
student: /models/wordnet-student/best
teacher: /models/wordnet-teacher
data:
  wordnet:
    train_rows: 30000
    seed: 1
train:
  steps: ${steps}
  batch_size: 32
  lr: ${method === 'minillm' ? 0.0005 : 0.001}
  schedule: cosine
`;
}
