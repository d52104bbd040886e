import { describe } from 'vitest';
import { initBackend } from '../../src/tensor/backend.js';
import { paritySuite } from './parity.suite.js';

await initBackend({ backend: 'wasm' });

describe('models against transformers on wasm', () => paritySuite());
