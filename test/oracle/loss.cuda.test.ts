import { describe, it } from 'vitest';
import { emulatorAbsent } from '../helpers/emulator.js';
import { lossSuite } from './loss.suite.js';

const absent = await emulatorAbsent(2);

describe('the MiniLLM loss summed over an enumeration on the CUDA engine, emulated', () => {
  if (absent) it.skip(`skipped: ${absent}`);
  else lossSuite();
});
