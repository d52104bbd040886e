import { describe, it } from 'vitest';
import { initBackend } from '../../src/tensor/backend.js';
import { chiSquareSuite } from './chiSquare.suite.js';

const absent = await initBackend({ backend: 'tensorflow' }).then(
  () => undefined,
  (error: Error) => error.message,
);

describe('draws on the native engine', () => {
  if (absent) it.skip(`skipped, the native engine is absent: ${absent}`);
  else
    chiSquareSuite([
      [5, 10_000],
      [4096, 8_000],
      [50_257, 4_000],
    ]);
});
