import { describe } from 'vitest';
import { initBackend } from '../../src/tensor/backend.js';
import { cacheSuite } from './cache.suite.js';

await initBackend({ backend: 'wasm' });

describe('key/value cache on wasm', cacheSuite);
