import { describe } from 'vitest';
import { initBackend } from '../../src/tensor/backend.js';
import { valueHeadSuite } from './valueHead.suite.js';

await initBackend({ backend: 'cpu' });

describe('value head on cpu', () => valueHeadSuite());
