import { describe, it } from 'vitest';
import { emulatorAbsent } from '../helpers/emulator.js';
import { opsSuite } from './ops.suite.js';

const absent = await emulatorAbsent();

describe('operations on the CUDA engine, emulated', () => {
  if (absent) it.skip(`skipped: ${absent}`);
  else opsSuite();
});
