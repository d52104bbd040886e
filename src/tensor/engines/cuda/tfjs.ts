import { binary } from './tfjsBinary.js';
import { elementwise } from './tfjsElementwise.js';
import { indexed } from './tfjsIndexed.js';
import { registerAll, type TfjsKernel } from './tfjsKernel.js';
import { moves } from './tfjsMove.js';
import { batchMatMul } from './tfjsProducts.js';
import { reductions } from './tfjsReduce.js';

/**
 * TensorFlow.js's own operations that this program uses, its gradients' among them. One that is missing is an error of
 * TensorFlow.js that names it and the backend; nothing is copied elsewhere to be computed.
 */
export const tfjsKernels: Readonly<Record<string, TfjsKernel>> = {
  ...moves,
  ...elementwise,
  ...binary,
  ...reductions,
  ...indexed,
  BatchMatMul: batchMatMul,
};

let registered = false;

/** Registers them, once. */
export function registerTfjs(): void {
  if (registered) return;
  registered = true;
  registerAll(tfjsKernels);
}
