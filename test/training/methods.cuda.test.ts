import { describe, it } from 'vitest';
import { emulatorAbsent } from '../helpers/emulator.js';
import { methodsSuite } from './methods.suite.js';

const absent = await emulatorAbsent(1);

describe('training methods on the CUDA engine, emulated', () => {
  if (absent) it.skip(`skipped: ${absent}`);
  else methodsSuite({ learn: 'representative', accumulate: 'representative' });
});
