import { beforeAll, describe } from 'vitest';
import { initBackend } from '../../src/tensor/backend.js';
import { opsSuite } from './ops.suite.js';

describe('operations on wasm', () => {
  beforeAll(async () => {
    await initBackend({ backend: 'wasm' });
  });
  opsSuite();
});
