import { describe, it } from 'vitest';
import { emulatorAbsent } from '../helpers/emulator.js';
import { loraSuite } from './lora.suite.js';

const absent = await emulatorAbsent(1);

describe('adapters against PEFT on the CUDA engine, emulated', () => {
  if (absent) it.skip(`skipped: ${absent}`);
  else loraSuite();
});
