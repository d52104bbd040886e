import { describe, it } from 'vitest';
import { initBackend } from '../../src/tensor/backend.js';
import { processorsSuite } from './processors.suite.js';
import { rolloutSuite } from './rollout.suite.js';

const absent = await initBackend({ backend: 'tensorflow' }).then(
  () => undefined,
  (error: Error) => error.message,
);

describe('rollouts on the native engine', () => {
  if (absent) it.skip(`skipped, the native engine is absent: ${absent}`);
  else {
    rolloutSuite({ bitwise: false });
    describe('penalties, forbidden n-grams and min-p', () => processorsSuite());
  }
});
