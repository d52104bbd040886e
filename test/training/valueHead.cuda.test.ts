import { describe, it } from 'vitest';
import { emulatorAbsent } from '../helpers/emulator.js';
import { valueHeadSuite } from './valueHead.suite.js';

const absent = await emulatorAbsent(1);

describe('value head on the CUDA engine, emulated', () => {
  if (absent) it.skip(`skipped: ${absent}`);
  else valueHeadSuite();
});
