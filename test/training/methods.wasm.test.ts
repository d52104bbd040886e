import { describe } from 'vitest';
import { initBackend } from '../../src/tensor/backend.js';
import { methodsSuite } from './methods.suite.js';

await initBackend({ backend: 'wasm' });

describe('training methods on wasm', () => methodsSuite({ learn: 'all', accumulate: 'all' }));
