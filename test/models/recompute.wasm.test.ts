import { describe } from 'vitest';
import { initBackend } from '../../src/tensor/backend.js';
import { recomputeSuite } from './recompute.suite.js';

await initBackend({ backend: 'wasm' });

describe('gradient checkpointing on wasm', () => recomputeSuite());
