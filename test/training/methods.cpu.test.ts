import { describe } from 'vitest';
import { initBackend } from '../../src/tensor/backend.js';
import { methodsSuite } from './methods.suite.js';

await initBackend({ backend: 'cpu' });

describe('training methods on cpu', () =>
  methodsSuite({ learn: 'representative', accumulate: 'representative' }));
