import { describe, it } from 'vitest';
import { initBackend } from '../../src/tensor/backend.js';
import { methodsSuite } from './methods.suite.js';

const absent = await initBackend({ backend: 'tensorflow' }).then(
  () => undefined,
  (error: Error) => error.message,
);

describe('training methods on the native engine', () => {
  if (absent) it.skip(`skipped, the native engine is absent: ${absent}`);
  else methodsSuite({ learn: 'all', accumulate: 'representative' });
});
