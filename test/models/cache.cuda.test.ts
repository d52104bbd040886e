import { describe, it } from 'vitest';
import { emulatorAbsent } from '../helpers/emulator.js';
import { cacheSuite } from './cache.suite.js';

const absent = await emulatorAbsent(1);

describe('key/value cache on the CUDA engine, emulated', () => {
  if (absent) it.skip(`skipped: ${absent}`);
  else cacheSuite();
});
