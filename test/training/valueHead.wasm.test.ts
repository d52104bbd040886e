import { describe } from 'vitest';
import { initBackend } from '../../src/tensor/backend.js';
import { valueHeadSuite } from './valueHead.suite.js';

await initBackend({ backend: 'wasm' });

describe('value head on wasm', () => valueHeadSuite());
