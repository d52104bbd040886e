import { beforeAll, describe } from 'vitest';
import { initBackend } from '../../src/tensor/backend.js';
import { halvesSuite } from './halves.suite.js';

describe('16-bit weights on cpu', () => {
  beforeAll(async () => {
    await initBackend({ backend: 'cpu' });
  });
  halvesSuite();
});
