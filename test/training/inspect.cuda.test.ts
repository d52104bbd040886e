import { describe, it } from 'vitest';
import { emulatorAbsent } from '../helpers/emulator.js';
import { inspectSuite } from './inspect.suite.js';

const absent = await emulatorAbsent(1);

describe('the official numbers on the CUDA engine, emulated', () => {
  if (absent) it.skip(`skipped: ${absent}`);
  else inspectSuite();
});
