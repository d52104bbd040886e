import { describe, it } from 'vitest';
import { initBackend } from '../../src/tensor/backend.js';
import { lossSuite } from './loss.suite.js';

const absent = await initBackend({ backend: 'tensorflow' }).then(
  () => undefined,
  (error: Error) => error.message,
);

describe('the MiniLLM loss summed over an enumeration, native engine', () => {
  if (absent) it.skip(`skipped, the native engine is absent: ${absent}`);
  else lossSuite();
});
