import * as tf from '@tensorflow/tfjs-core';
import { randomRows, trainingBench } from '../../src/bench/training.js';
import { initBackend } from '../../src/tensor/backend.js';
import { minillm } from '../../src/training/minillm.js';
import { randomModel } from './models.js';
import { verdict } from './rows.js';

const tiny = Boolean(process.env.MINILLM_CUDA_EMULATOR);
const STEPS = tiny ? 60 : 200;
/** Optimizer steps of a round of rollouts, as set below. */
const STEPS_A_ROUND = 4;
/** Memory is compared from here on: by then every shape has been there. */
const SETTLED = tiny ? 20 : 40;

/** The part `leak`: MiniLLM's rounds and steps, 200 of them; what the device has handed out, and what it keeps, must stay as it is. */
export async function leak(): Promise<void> {
  await initBackend({ backend: 'cuda' });
  const vocab = tiny ? 31 : 4096;
  const shape = (layers: number, width: number, heads: number) =>
    randomModel({ layers, width, heads, vocab }, 256);
  const [student, teacher] = tiny ? [shape(1, 16, 2), shape(1, 16, 2)] : [shape(4, 256, 4), shape(6, 384, 6)];
  const [prompt, response, rollouts] = tiny ? [3, 2, 8] : [32, 32, 64];
  const settings = {
    method: 'minillm' as const,
    train: { batch_size: rollouts / 2 },
    rollout: { rollouts, inner_epochs: 2, max_new_tokens: response, batch_size: rollouts },
  };
  const prompts = randomRows(vocab, rollouts, prompt, 'prompts');
  const examples = prompts.map((promptIds) => ({ promptIds, responseIds: new Int32Array() }));
  const corpus = randomRows(vocab, rollouts, prompt + response, 'corpus');
  const run = trainingBench({ student, teacher }, minillm(), settings, examples, corpus);
  const seen: Usage[] = [];
  for (let step = 0; step < STEPS; step++) {
    if (step % STEPS_A_ROUND === 0) await run.collect();
    run.step();
    if (step % STEPS_A_ROUND === STEPS_A_ROUND - 1) seen.push(usage());
  }
  run.dispose();
  const settled = seen.slice(SETTLED / STEPS_A_ROUND);
  const growth = (of: (x: Usage) => number): number => of(settled.at(-1)!) - of(settled[0]!);
  const handedOut = growth(({ inUse }) => inUse);
  const kept = growth(({ inUse, cached }) => inUse + cached);
  const tensors = growth((x) => x.tensors);
  const last = settled.at(-1)!;
  verdict(
    `${STEPS} steps`,
    handedOut === 0 && kept === 0 && tensors === 0,
    `from step ${SETTLED} on: in use ${signed(handedOut)} B of ${mb(last.inUse)}, with kept blocks ${signed(kept)} B of ${mb(last.inUse + last.cached)}, tensors ${signed(tensors)}; peak ${mb(last.peak)}`,
  );
}

interface Usage {
  inUse: number;
  cached: number;
  peak: number;
  tensors: number;
}

function usage(): Usage {
  const { device, numTensors } = tf.memory() as unknown as { device: Usage; numTensors: number };
  return { ...device, tensors: numTensors };
}

const signed = (n: number): string => (n > 0 ? `+${n}` : String(n));
const mb = (bytes: number): string => `${(bytes / 1e6).toFixed(1)} MB`;
