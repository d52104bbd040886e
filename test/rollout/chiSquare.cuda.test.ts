import { describe, it } from 'vitest';
import { emulatorAbsent } from '../helpers/emulator.js';
import { chiSquareSuite } from './chiSquare.suite.js';

const absent = await emulatorAbsent(4);

describe('tokens drawn on the CUDA engine, emulated', () => {
  if (absent) it.skip(`skipped: ${absent}`);
  else
    chiSquareSuite([
      [5, 400],
      [333, 300],
    ]);
});
