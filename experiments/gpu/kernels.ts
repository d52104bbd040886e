import * as tf from '@tensorflow/tfjs-core';
import { initBackend, type Precision, precisions } from '../../src/tensor/backend.js';
import { kernels as table } from '../../src/tensor/kernels.js';
import { beginCase, cases, type Result, sizesOf } from './kernelCases.js';
import { oneLine, verdict } from './rows.js';

/**
 * Largest difference from float64, over the number itself and the root mean square of all. Float32 sums of thousands of terms; in TF32 the factors of products
 * have 10 bits of fraction, in bfloat16 7, there also of what a kernel keeps for the next.
 */
const BOUNDS: Record<Precision | 'bfloat16', { product: number; other: number }> = {
  float32: { product: 3e-5, other: 3e-5 },
  tf32: { product: 1e-2, other: 3e-5 },
  bfloat16: { product: 8e-2, other: 3e-2 },
};

/**
 * The part `kernels`: every kernel of the table against float64 loops, in every precision or those named; `--small` for compute-sanitizer, which is
 * slow. A row for each kernel, and the sizes are such that all ways through it are taken: whole tiles and rests, heads of 64, GPT-2's vocabulary.
 */
export async function kernelChecks(args: readonly string[]): Promise<void> {
  const named = precisions.filter((name) => args.includes(name));
  const sizes = sizesOf(args.includes('--small') || Boolean(process.env.MINILLM_CUDA_EMULATOR));
  for (const name of Object.keys(cases) as (keyof typeof cases)[]) {
    const { run, product = false } = cases[name];
    const notes: string[] = [];
    let holds = true;
    for (const precision of named.length > 0 ? named : precisions) {
      const bound = BOUNDS[precision][product ? 'product' : 'other'];
      await initBackend({ backend: 'cuda', precision });
      beginCase(name);
      tf.engine().startScope();
      try {
        const [worst, where] = worstOf(run(table(), sizes));
        holds &&= worst <= bound;
        notes.push(
          `${precision} ${worst.toExponential(1)} of ${bound}${worst > bound && where ? ` (${where})` : ''}`,
        );
      } catch (error) {
        holds = false;
        notes.push(`${precision}: ${oneLine(error)}`);
      } finally {
        tf.engine().endScope();
      }
    }
    verdict(name, holds, notes.join(', '));
  }
}

/** The largest error, and of which result it is. */
function worstOf(results: Result[]): [number, string] {
  let worst: [number, string] = [0, results[0]![0]];
  for (const [what, given, right] of results) {
    const found = given instanceof tf.Tensor ? given.dataSync() : given;
    const error = found.length === right.length ? errorOf(found, right) : Number.POSITIVE_INFINITY;
    if (!(error <= worst[0])) worst = [error, what]; // NaN too
  }
  return worst;
}

function errorOf(found: ArrayLike<number>, right: ArrayLike<number>): number {
  let squares = 0;
  for (let i = 0; i < right.length; i++) squares += right[i]! ** 2;
  const scale = Math.sqrt(squares / right.length) || 1;
  let most = 0;
  for (let i = 0; i < right.length; i++) {
    const error = found[i] === right[i] ? 0 : Math.abs(found[i]! - right[i]!) / (scale + Math.abs(right[i]!));
    if (!(error <= most)) most = error;
  }
  return most;
}
