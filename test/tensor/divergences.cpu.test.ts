import { beforeAll, describe } from 'vitest';
import { initBackend } from '../../src/tensor/backend.js';
import { divergencesSuite } from './divergences.suite.js';

describe('divergences on cpu', () => {
  beforeAll(async () => {
    await initBackend({ backend: 'cpu' });
  });
  divergencesSuite();
});
