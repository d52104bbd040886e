/**
 * Long synchronous work that can be paused: it yields where it holds nothing half done, and returns its result. Native tensor
 * work never lets signals and timers through by itself. Whoever gives it up calls `return`, and its `finally` blocks run.
 */
export type Pieces<T> = Generator<undefined, T, void>;

/** The work from beginning to end, without a pause. */
export function whole<T>(work: Pieces<T>): T {
  for (;;) {
    const { done, value } = work.next();
    if (done) return value;
  }
}

/** Milliseconds of work between two pauses: a person does not notice, and a pause costs a turn of the event loop. */
const PATIENCE = 50;

/** The work with pauses. What `pause` throws ends it. @param pause default: signals and timers are let through */
export async function paused<T>(work: Pieces<T>, pause: () => Promise<void> = breathe): Promise<T> {
  let since = performance.now();
  try {
    for (;;) {
      const { done, value } = work.next();
      if (done) return value;
      if (performance.now() - since < PATIENCE) continue;
      await pause();
      since = performance.now();
    }
  } finally {
    work.return(undefined as never);
  }
}

/** Lets signals and timers through. */
export function breathe(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

/** A person asked to stop: what is half done is given up. */
export class Stopped extends Error {}
