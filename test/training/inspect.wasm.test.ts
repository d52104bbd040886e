import { describe } from 'vitest';
import { initBackend } from '../../src/tensor/backend.js';
import { inspectSuite } from './inspect.suite.js';

await initBackend({ backend: 'wasm' });

describe('the official numbers on wasm', () => inspectSuite());
