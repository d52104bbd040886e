/** What `gpu NAME` runs. Each is loaded when it is asked for, and is a process of its own: a device is opened once in a process. */
export const parts = {
  check: async (args: string[]): Promise<void> => (await import('./check.js')).check(args),
  engine: async (): Promise<void> => (await import('./engine.js')).engine(),
  suites: async (names: string[]): Promise<void> => (await import('./suites.js')).suites(names),
  kernels: async (args: string[]): Promise<void> => (await import('./kernels.js')).kernelChecks(args),
  parity: async (): Promise<void> => (await import('./parity.js')).parity(),
  smoke: async ([precision]: string[]): Promise<void> => (await import('./smoke.js')).smoke(precision),
  leak: async (): Promise<void> => (await import('./leak.js')).leak(),
  work: async (): Promise<void> => (await import('./work.js')).work(),
};
