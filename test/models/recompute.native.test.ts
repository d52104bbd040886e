import { describe, it } from 'vitest';
import { initBackend } from '../../src/tensor/backend.js';
import { recomputeSuite } from './recompute.suite.js';

const absent = await initBackend({ backend: 'tensorflow' }).then(
  () => undefined,
  (error: Error) => error.message,
);

describe('gradient checkpointing on the native engine', () => {
  if (absent) it.skip(`skipped, the native engine is absent: ${absent}`);
  else recomputeSuite();
});
