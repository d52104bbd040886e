import { describe, it } from 'vitest';
import { initBackend } from '../../src/tensor/backend.js';
import { divergencesSuite } from './divergences.suite.js';

// What serves the native engine where our own kernels were not compiled.
process.env.MINILLM_KERNELS = 'off';
const absent = await initBackend({ backend: 'tensorflow' }).then(
  () => undefined,
  (error: Error) => error.message,
);

describe('divergences on the native engine, without our kernels', () => {
  if (absent) it.skip(`skipped, the native engine is absent: ${absent}`);
  else divergencesSuite();
});
