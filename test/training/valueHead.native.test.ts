import { describe, it } from 'vitest';
import { initBackend } from '../../src/tensor/backend.js';
import { valueHeadSuite } from './valueHead.suite.js';

const absent = await initBackend({ backend: 'tensorflow' }).then(
  () => undefined,
  (error: Error) => error.message,
);

describe('value head on the native engine', () => {
  if (absent) it.skip(`skipped, the native engine is absent: ${absent}`);
  else valueHeadSuite();
});
