import { describe, it } from 'vitest';
import { initBackend } from '../../src/tensor/backend.js';
import { divergencesSuite } from './divergences.suite.js';

const absent = await initBackend({ backend: 'tensorflow' }).then(
  () => undefined,
  (error: Error) => error.message,
);

describe('divergences on the native engine', () => {
  if (absent) it.skip(`skipped, the native engine is absent: ${absent}`);
  else divergencesSuite();
});
