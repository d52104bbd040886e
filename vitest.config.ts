import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    // Each file is its own process: a TensorFlow.js backend is process-wide state.
    pool: 'forks',
    maxWorkers: 2,
    globalSetup: ['test/globalSetup.ts'],
    // What a test computes on does not depend on the machine; those of cards ask for one by name.
    env: { MINILLM_CUDA: 'off' },
    testTimeout: 120_000,
    hookTimeout: 120_000,
  },
});
