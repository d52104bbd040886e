import { describe } from 'vitest';
import { initBackend } from '../../src/tensor/backend.js';
import { memorySuite } from './memory.suite.js';

await initBackend({ backend: 'cpu' });

describe('memory over rounds on cpu', () => memorySuite());
