import { beforeAll, describe } from 'vitest';
import { initBackend } from '../../src/tensor/backend.js';
import { lossSuite } from './loss.suite.js';

describe('the MiniLLM loss summed over an enumeration, cpu', () => {
  beforeAll(async () => {
    await initBackend({ backend: 'cpu' });
  });
  lossSuite();
});
