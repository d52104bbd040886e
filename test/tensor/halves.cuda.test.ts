import { describe, it } from 'vitest';
import { emulatorAbsent } from '../helpers/emulator.js';
import { halvesSuite } from './halves.suite.js';

const absent = await emulatorAbsent();

describe('16-bit weights on the CUDA engine, emulated', () => {
  if (absent) it.skip(`skipped: ${absent}`);
  else halvesSuite();
});
