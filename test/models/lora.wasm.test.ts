import { describe } from 'vitest';
import { initBackend } from '../../src/tensor/backend.js';
import { loraSuite } from './lora.suite.js';

await initBackend({ backend: 'wasm' });

describe('adapters against PEFT on wasm', () => loraSuite());
