import { describe, it } from 'vitest';
import { initBackend } from '../../src/tensor/backend.js';
import { inspectSuite } from './inspect.suite.js';

const absent = await initBackend({ backend: 'tensorflow' }).then(
  () => undefined,
  (error: Error) => error.message,
);

describe('the official numbers on the native engine', () => {
  if (absent) it.skip(`skipped, the native engine is absent: ${absent}`);
  else inspectSuite();
});
