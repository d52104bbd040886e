import { initBackend } from '../../src/tensor/backend.js';

/**
 * The CUDA engine on the emulator: the same kernels, run by the processor. For test files whose process has no other backend.
 *
 * @returns why it is not there, e.g. no C++ compiler
 */
export async function emulatorAbsent(seed = 1): Promise<string | undefined> {
  process.env.MINILLM_CUDA_EMULATOR = String(seed);
  return initBackend({ backend: 'cuda' }).then(
    () => undefined,
    (error: Error) => error.message,
  );
}
