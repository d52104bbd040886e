import { beforeAll, describe } from 'vitest';
import { initBackend } from '../../src/tensor/backend.js';
import { halvesSuite } from './halves.suite.js';

describe('16-bit weights on wasm', () => {
  beforeAll(async () => {
    await initBackend({ backend: 'wasm' });
  });
  halvesSuite();
});
