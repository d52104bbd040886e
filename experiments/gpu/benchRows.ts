import type { Work } from './work.js';

/** What is compared, in the order in which it is measured: the first rows matter most where time runs out. */
export interface BenchRow {
  what: string;
  ours: Work;
  theirs: { name: 'common' | 'strong' | 'lean' | 'official' | 'ceilings'; work: string; target: number }[];
  turns: number;
  /** Seconds without which a row is not begun, from figures of one H200. */
  needs: number;
  /** Our peak memory over that of `lean` should be at most this. */
  memoryTarget?: number;
  /** Model FLOPs of a run over the card's rate of bfloat16 products (PyTorch's, `ceilings`) should be at least this. */
  utilisation?: { flops: number; target: number };
}

const VOCAB = 50_257;
const SMALL: Work['shape'] = [12, 768, 12, VOCAB];
const LARGE: Work['shape'] = [48, 1600, 25, VOCAB];
const SMALL_STEP = { work: 'sft', shape: SMALL, batch: 16, length: 512, repeats: 5 };
const DECODING = { work: 'generate', batch: 64, prompt: 256, response: 128, precision: 'bfloat16' as const };
/** Parameters of GPT-2 1.5B; six operations each for a token, forward and backward. */
const LARGE_PARAMETERS = 1_557_611_200;

export const benchRows: BenchRow[] = [
  {
    what: 'training step 124M, B16 T512, bfloat16',
    ours: { ...SMALL_STEP, precision: 'bfloat16' },
    theirs: [
      { name: 'common', work: 'sft', target: 0.4 },
      { name: 'strong', work: 'sft', target: 1.0 },
    ],
    turns: 5,
    needs: 60,
  },
  {
    what: 'training step 124M, B16 T512, tf32',
    ours: { ...SMALL_STEP, precision: 'tf32' },
    theirs: [
      { name: 'common', work: 'sft', target: 0.65 },
      { name: 'strong', work: 'sft', target: 0.9 },
    ],
    turns: 3,
    needs: 50,
  },
  {
    what: 'decoding 124M, B64, 256+128, bfloat16',
    ours: { ...DECODING, shape: SMALL, repeats: 1 },
    theirs: [
      { name: 'common', work: 'generate', target: 0.12 },
      { name: 'strong', work: 'generate', target: 1.0 },
    ],
    turns: 5,
    needs: 25,
  },
  {
    what: 'MiniLLM round, 124M from 1.5B, bfloat16',
    ours: {
      ...{
        work: 'round',
        shape: SMALL,
        teacher: LARGE,
        precision: 'bfloat16',
        batch: 64,
        prompt: 256,
        response: 128,
      },
      ...{ minibatch: 16, passes: 4, repeats: 1 },
    },
    theirs: [
      { name: 'lean', work: 'round-lean', target: 0.3 },
      { name: 'official', work: 'round-official', target: 0.15 },
    ],
    turns: 1,
    needs: 110,
    memoryTarget: 0.8,
  },
  {
    what: 'decoding 1.5B, B64, 256+128, bfloat16',
    ours: { ...DECODING, shape: LARGE, repeats: 1 },
    theirs: [
      { name: 'common', work: 'generate', target: 0.2 },
      { name: 'strong', work: 'generate', target: 1.0 },
    ],
    turns: 3,
    needs: 50,
  },
  {
    what: 'training step 124M, B16 T512, float32',
    ours: { ...SMALL_STEP, precision: 'float32', repeats: 3 },
    theirs: [{ name: 'common', work: 'sft', target: 0.9 }],
    turns: 3,
    needs: 20,
  },
  {
    what: 'training step 1.5B, B4 T512, bfloat16, checkpointed',
    ours: {
      ...{
        work: 'sft',
        shape: LARGE,
        precision: 'bfloat16',
        batch: 4,
        length: 512,
        checkpointing: true,
        repeats: 3,
      },
    },
    theirs: [{ name: 'ceilings', work: 'ceilings', target: 0 }],
    turns: 1,
    needs: 30,
    utilisation: { flops: 6 * LARGE_PARAMETERS * 4 * 512, target: 0.4 },
  },
];

/** The same at sizes that the emulator can do: shows that the rows run, not how fast. */
export function tiny(row: BenchRow): BenchRow {
  const shape: Work['shape'] = [1, 16, 2, 31];
  const few = { batch: 4, length: 5, prompt: 4, response: 3, minibatch: 2, passes: 1, repeats: 1 };
  return {
    ...row,
    ours: { ...row.ours, ...few, shape, ...(row.ours.teacher && { teacher: shape }) },
    theirs: [],
    turns: 1,
    needs: 0,
  };
}
