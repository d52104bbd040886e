import { describe } from 'vitest';
import { initBackend } from '../../src/tensor/backend.js';
import { processorsSuite } from './processors.suite.js';
import { rolloutSuite } from './rollout.suite.js';

await initBackend({ backend: 'cpu' });

describe('rollouts on cpu', () => rolloutSuite({ bitwise: true }));

describe('penalties, forbidden n-grams and min-p on cpu', () => processorsSuite());
