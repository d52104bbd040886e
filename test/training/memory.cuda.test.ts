import { describe, it } from 'vitest';
import { emulatorAbsent } from '../helpers/emulator.js';
import { memorySuite } from './memory.suite.js';

const absent = await emulatorAbsent(1);

describe('memory over rounds on the CUDA engine, emulated', () => {
  if (absent) it.skip(`skipped: ${absent}`);
  else memorySuite();
});
