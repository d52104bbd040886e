import { describe, it } from 'vitest';
import { initBackend } from '../../src/tensor/backend.js';
import { halvesSuite } from './halves.suite.js';

const absent = await initBackend({ backend: 'tensorflow' }).then(
  () => undefined,
  (error: Error) => error.message,
);

describe('16-bit weights on the native engine', () => {
  if (absent) it.skip(`skipped, the native engine is absent: ${absent}`);
  else halvesSuite();
});
