/**
 * Ctrl-C, SIGTERM, or the warning of a scheduler (SIGUSR1, SIGUSR2, which mpirun hands on) as a request: the first one asks the
 * work to stop at the next safe point, where it saves; a second one that is no part of a warning ends the process at once. They are heard between the pieces of long work (pieces.ts). After `release` they end the process as usual.
 */
export function interruptible(
  log: (line: string) => void,
  what = 'stopping and saving; what is only sampled yet is given up',
): { stopping: () => boolean; release: () => void } {
  let asked: NodeJS.Signals | undefined;
  const onSignal = (signal: NodeJS.Signals): void => {
    const warning = signal.startsWith('SIGUSR');
    if (asked === undefined) log(`${what}; Ctrl-C again to quit at once`);
    // A scheduler sends SIGTERM after its warning, while the run saves.
    else if (!warning && !(signal === 'SIGTERM' && asked.startsWith('SIGUSR'))) process.exit(130);
    if (asked === undefined || !warning) asked = signal;
  };
  const signals = ['SIGINT', 'SIGTERM', 'SIGUSR1', 'SIGUSR2'] as const;
  for (const signal of signals) process.on(signal, onSignal);
  return {
    stopping: () => asked !== undefined,
    release: () => {
      for (const signal of signals) process.off(signal, onSignal);
    },
  };
}
