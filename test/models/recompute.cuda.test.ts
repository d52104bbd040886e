import { describe, it } from 'vitest';
import { emulatorAbsent } from '../helpers/emulator.js';
import { recomputeSuite } from './recompute.suite.js';

const absent = await emulatorAbsent(1);

describe('gradient checkpointing on the CUDA engine, emulated', () => {
  if (absent) it.skip(`skipped: ${absent}`);
  else recomputeSuite();
});
