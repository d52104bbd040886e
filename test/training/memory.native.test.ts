import { describe, it } from 'vitest';
import { initBackend } from '../../src/tensor/backend.js';
import { memorySuite } from './memory.suite.js';

const absent = await initBackend({ backend: 'tensorflow' }).then(
  () => undefined,
  (error: Error) => error.message,
);

describe('memory over rounds on the native engine', () => {
  if (absent) it.skip(`skipped, the native engine is absent: ${absent}`);
  else memorySuite();
});
