import { describe } from 'vitest';
import { initBackend } from '../../src/tensor/backend.js';
import { loraSuite } from './lora.suite.js';

await initBackend({ backend: 'cpu' });

describe('adapters against PEFT on cpu', () => loraSuite());
