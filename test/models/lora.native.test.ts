import { describe, it } from 'vitest';
import { initBackend } from '../../src/tensor/backend.js';
import { loraSuite } from './lora.suite.js';

const absent = await initBackend({ backend: 'tensorflow' }).then(
  () => undefined,
  (error: Error) => error.message,
);

describe('adapters against PEFT on the native engine', () => {
  if (absent) it.skip(`skipped, the native engine is absent: ${absent}`);
  else loraSuite();
});
