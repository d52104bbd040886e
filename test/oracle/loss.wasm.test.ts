import { beforeAll, describe } from 'vitest';
import { initBackend } from '../../src/tensor/backend.js';
import { lossSuite } from './loss.suite.js';

describe('the MiniLLM loss summed over an enumeration, wasm', () => {
  beforeAll(async () => {
    await initBackend({ backend: 'wasm' });
  });
  lossSuite();
});
