/**
 * Ctrl-C as a request: the first one asks the work to stop at the next safe point, where it saves; a second one ends
 * the process at once.
 */
export function interruptible(log: (line: string) => void): () => boolean {
  let asked = false;
  const onSignal = (): void => {
    if (asked) process.exit(130);
    asked = true;
    log('stopping after this step and saving; Ctrl-C again to quit at once');
  };
  process.on('SIGINT', onSignal);
  process.on('SIGTERM', onSignal);
  return () => asked;
}
