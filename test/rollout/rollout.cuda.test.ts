import { describe, it } from 'vitest';
import { emulatorAbsent } from '../helpers/emulator.js';
import { processorsSuite } from './processors.suite.js';
import { rolloutSuite } from './rollout.suite.js';

const absent = await emulatorAbsent(3);

describe('rollouts on the CUDA engine, emulated', () => {
  if (absent) it.skip(`skipped: ${absent}`);
  else {
    rolloutSuite({ bitwise: false });
    describe('penalties, forbidden n-grams and min-p', () => processorsSuite(3));
  }
});
