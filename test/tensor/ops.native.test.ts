import { describe, it } from 'vitest';
import { initBackend } from '../../src/tensor/backend.js';
import { opsSuite } from './ops.suite.js';

const absent = await initBackend({ backend: 'tensorflow' }).then(
  () => undefined,
  (error: Error) => error.message,
);

describe('operations on the native engine', () => {
  if (absent) it.skip(`skipped, the native engine is absent: ${absent}`);
  else opsSuite();
});
