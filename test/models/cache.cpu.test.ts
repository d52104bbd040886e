import { describe } from 'vitest';
import { initBackend } from '../../src/tensor/backend.js';
import { cacheSuite } from './cache.suite.js';

await initBackend({ backend: 'cpu' });

describe('key/value cache on cpu', cacheSuite);
