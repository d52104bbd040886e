import { describe } from 'vitest';
import { initBackend } from '../../src/tensor/backend.js';
import { chiSquareSuite } from './chiSquare.suite.js';

await initBackend({ backend: 'wasm' });

describe('draws on wasm', () =>
  chiSquareSuite([
    [5, 10_000],
    [4096, 2_000],
    [50_257, 500],
  ]));
