/**
 * Ctrl-C or SIGTERM as a request: the first one asks the work to stop at the next safe point, where it saves; a second one
 * ends the process at once. They are heard between the pieces of long work (pieces.ts). After `release` they end the process as usual.
 */
export function interruptible(
  log: (line: string) => void,
  what = 'stopping and saving; what is only sampled yet is given up',
): { stopping: () => boolean; release: () => void } {
  let asked = false;
  const onSignal = (): void => {
    if (asked) process.exit(130);
    asked = true;
    log(`${what}; Ctrl-C again to quit at once`);
  };
  const signals = ['SIGINT', 'SIGTERM'] as const;
  for (const signal of signals) process.on(signal, onSignal);
  return {
    stopping: () => asked,
    release: () => {
      for (const signal of signals) process.off(signal, onSignal);
    },
  };
}
