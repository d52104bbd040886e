/**
 * Ctrl-C as a request: the first one asks the work to stop at the next safe point, where it saves; a second one ends
 * the process at once. After `release` Ctrl-C ends the process as usual.
 */
export function interruptible(
  log: (line: string) => void,
  what = 'stopping after this step and saving',
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
