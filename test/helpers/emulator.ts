import { initBackend, type Precision } from '../../src/tensor/backend.js';

/**
 * The CUDA engine on the emulator: the same kernels, run by the processor. For test files whose process has no other backend.
 *
 * With MINILLM_TEST_CARD set the card itself is tested.
 *
 * @returns why it is not there, e.g. no C++ compiler
 */
export async function emulatorAbsent(
  seed = 1,
  precision: Precision = 'float32',
): Promise<string | undefined> {
  if (!process.env.MINILLM_TEST_CARD) process.env.MINILLM_CUDA_EMULATOR = String(seed);
  return initBackend({ backend: 'cuda', precision }).then(
    () => undefined,
    (error: Error) => error.message,
  );
}
