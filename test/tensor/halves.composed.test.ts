import { describe, it } from 'vitest';
import { initBackend } from '../../src/tensor/backend.js';
import { halvesSuite } from './halves.suite.js';

// What serves the native engine where our own kernels were not compiled.
process.env.MINILLM_KERNELS = 'off';
const absent = await initBackend({ backend: 'tensorflow' }).then(
  () => undefined,
  (error: Error) => error.message,
);

describe('16-bit weights on the native engine, without our kernels', () => {
  if (absent) it.skip(`skipped, the native engine is absent: ${absent}`);
  else halvesSuite();
});
