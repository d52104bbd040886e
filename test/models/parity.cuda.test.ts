import { describe, it } from 'vitest';
import { emulatorAbsent } from '../helpers/emulator.js';
import { paritySuite } from './parity.suite.js';

const absent = await emulatorAbsent(1);

describe('models against transformers on the CUDA engine, emulated', () => {
  if (absent) it.skip(`skipped: ${absent}`);
  else paritySuite();
});
