/**
 * What `npm run bench:torch` compares: pieces of work that both sides do with the same weights and sizes, and which pairs of times
 * become a row of the table.
 */

/** How one side does the work. */
export type Side =
  /** `minillm bench` with these arguments: prints seconds and its peak memory as JSON. */
  | { ours: string[] }
  /** torch_bench.py with these arguments: the same of PyTorch. */
  | { theirs: string[] }
  /** A whole process by the clock on the wall, from its start to its end. */
  | { wall: 'source' | 'built' | 'python' };

export interface Comparison {
  /** Names of sides. */
  ours: string;
  theirs: string;
  what: string;
  /** Our time over theirs should be at most this. */
  target: number;
  /** Our peak memory over theirs should be at most this. */
  memoryTarget?: number;
}

export interface Workload {
  name: string;
  /** The models that must be there, as make_models.py names them. */
  models: (keyof typeof shapes)[];
  sides: Record<string, Side>;
  rows: Comparison[];
}

/** Layers, width, heads, vocabulary. */
export const shapes = {
  tiny: '4,128,4,1024',
  small: '4,256,4,4096',
  'small-eos': '4,256,4,4096',
  gpt2: '12,768,12,50257',
  teacher: '6,384,6,4096',
} as const;

/** Tokens of every prompt, and how many prompts the files hold that both sides read. */
export const PROMPT_TOKENS = 32;
export const promptCounts = [1, 8, 32, 128] as const;
export const promptFile = (count: (typeof promptCounts)[number]): string => `prompts-${count}.jsonl`;

const words = (text: string): string[] => text.split(' ');

interface Work {
  name: string;
  model: keyof typeof shapes;
  /** The same flags for both programs; `{name}` is a model or a file of prompts among the models. */
  flags: string;
  what: string;
  target: number;
  ours: string;
  theirs: string;
}

function simple({ name, model, flags, what, target, ours, theirs }: Work): Workload {
  const both = ['--model', `{${model}}`, ...words(flags)];
  return {
    name,
    models: [model],
    sides: {
      minillm: { ours: ['--what', ...words(ours), ...both] },
      PyTorch: { theirs: ['--what', theirs, ...both] },
    },
    rows: [{ ours: 'minillm', theirs: 'PyTorch', what, target }],
  };
}

const sft = { ours: 'sft', theirs: 'sft' };
const score = { ours: 'score', theirs: 'score' };
const generate = { ours: 'generate', theirs: 'generate' };

const round =
  '--model {small} --teacher {teacher} --batch 64 --prompt-len 32 --max-response 64 --inner 4 --minibatch 16 --pt-len 96';

export const workloads: Workload[] = [
  simple({
    ...sft,
    name: 'sft-small',
    model: 'small',
    flags: '--batch 16 --seq 128 --warmup 2 --repeat 7',
    what: 'training step, L4 D256 H4 V4096, B16 T128',
    target: 0.8,
  }),
  simple({
    ...sft,
    name: 'sft-tiny',
    model: 'tiny',
    flags: '--batch 8 --seq 64 --warmup 5 --repeat 25',
    what: 'training step, L4 D128 H4 V1024, B8 T64',
    target: 1.0,
  }),
  simple({
    ...sft,
    name: 'sft-gpt2',
    model: 'gpt2',
    flags: '--batch 4 --seq 256 --warmup 1 --repeat 3',
    what: 'training step, L12 D768 H12 V50257, B4 T256',
    target: 0.7,
  }),
  simple({
    ...score,
    name: 'score-small',
    model: 'small',
    flags: '--batch 16 --seq 128 --warmup 2 --repeat 15',
    what: 'scoring, L4 D256 H4 V4096, B16 T128',
    target: 0.8,
  }),
  simple({
    ...score,
    name: 'score-gpt2',
    model: 'gpt2',
    flags: '--batch 4 --seq 256 --warmup 1 --repeat 5',
    what: 'scoring, L12 D768 H12 V50257, B4 T256',
    target: 0.8,
  }),
  simple({
    ...generate,
    name: 'generate-small',
    model: 'small',
    flags: `--input {${promptFile(32)}} --max-response 64 --warmup 1 --repeat 5`,
    what: 'sampling, L4 D256 H4 V4096, B32, 32+64 tokens',
    target: 0.5,
  }),
  simple({
    ...generate,
    name: 'generate-gpt2',
    model: 'gpt2',
    flags: `--input {${promptFile(8)}} --max-response 64 --warmup 1 --repeat 3`,
    what: 'sampling, L12 D768 H12 V50257, B8, 32+64 tokens',
    target: 0.5,
  }),
  simple({
    name: 'generate-eos',
    model: 'small-eos',
    flags: `--input {${promptFile(128)}} --max-response 256 --warmup 1 --repeat 5`,
    what: 'sampling, L4 D256 H4 V4096, 128 prompts, responses of 24 tokens on average, at most 256',
    target: 0.3,
    ours: 'generate --eos',
    theirs: 'generate-eos',
  }),
  {
    name: 'round',
    models: ['small', 'teacher'],
    sides: {
      minillm: { ours: words(`--what round ${round} --warmup 1 --repeat 3`) },
      official: { theirs: words(`--what round-official ${round} --warmup 1 --repeat 3`) },
      lean: { theirs: words(`--what round-lean ${round} --warmup 1 --repeat 3`) },
    },
    rows: [
      { ours: 'minillm', theirs: 'official', what: 'MiniLLM round, official procedure', target: 0.45 },
      {
        ours: 'minillm',
        theirs: 'lean',
        what: 'MiniLLM round, lean PyTorch',
        target: 0.7,
        memoryTarget: 1.0,
      },
    ],
  },
  {
    name: 'start-up',
    models: ['small'],
    sides: { source: { wall: 'source' }, built: { wall: 'built' }, Python: { wall: 'python' } },
    rows: [
      { ours: 'source', theirs: 'Python', what: 'start-up of `generate`, from the sources', target: 0.5 },
      { ours: 'built', theirs: 'Python', what: 'start-up of `generate`, built package', target: 0.5 },
    ],
  },
];
