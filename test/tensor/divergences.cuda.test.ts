import { describe, it } from 'vitest';
import { emulatorAbsent } from '../helpers/emulator.js';
import { divergencesSuite } from './divergences.suite.js';

const absent = await emulatorAbsent();

describe('divergences on the CUDA engine, emulated', () => {
  if (absent) it.skip(`skipped: ${absent}`);
  else divergencesSuite();
});
