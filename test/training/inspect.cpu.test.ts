import { describe } from 'vitest';
import { initBackend } from '../../src/tensor/backend.js';
import { inspectSuite } from './inspect.suite.js';

await initBackend({ backend: 'cpu' });

describe('the official numbers on cpu', () => inspectSuite());
