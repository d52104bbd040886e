import type { CudaKernel } from './call.js';
import { attention } from './table/attention.js';
import { decode } from './table/decode.js';
import { elementwise } from './table/elementwise.js';
import { gather } from './table/gather.js';
import { linear } from './table/linear.js';
import { losses } from './table/losses.js';
import { mixtures } from './table/mixtures.js';
import { norms } from './table/norms.js';
import { optimizer } from './table/optimizer.js';
import { sampling } from './table/sampling.js';

/** Every kernel of our table, by the name that the C++ kernels have. */
export const cudaKernels: Readonly<Record<string, CudaKernel>> = {
  ...attention,
  ...decode,
  ...elementwise,
  ...gather,
  ...linear,
  ...losses,
  ...mixtures,
  ...norms,
  ...optimizer,
  ...sampling,
};
