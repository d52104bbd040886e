import { describe } from 'vitest';
import { initBackend } from '../../src/tensor/backend.js';
import { processorsSuite } from './processors.suite.js';
import { rolloutSuite } from './rollout.suite.js';

await initBackend({ backend: 'wasm' });

describe('rollouts on wasm', () => rolloutSuite({ bitwise: false }));

describe('penalties, forbidden n-grams and min-p on wasm', () => processorsSuite());
