/** The learning rate of an update, given the number of updates done before it. */
export type Schedule = (step: number) => number;

export interface ScheduleOptions {
  /** The rate after warm-up. */
  peak: number;
  /** Updates of linear warm-up: the first has rate peak/warmup, the last one peak. */
  warmup: number;
  /** Updates in all; from there on the rate is `floor`. Not used by `constant`. */
  steps: number;
  /** The rate decayed to. Not used by `constant`. */
  floor: number;
}

/**
 * Warm-up followed by each shape of decay. Unlike those of transformers the first update is not wasted on a rate
 * of 0: warm-up counts from 1.
 */
export const schedules = {
  /** peak */
  constant: ({ peak, warmup }: ScheduleOptions): Schedule => withWarmup(peak, warmup, () => peak),
  /** floor + (peak − floor) (1 + cos(π x)) / 2, x from 0 to 1 between warm-up and end (Loshchilov and Hutter, arXiv 1608.03983, eq. 5, without restarts) */
  cosine: (options: ScheduleOptions): Schedule => decay(options, (x) => (1 + Math.cos(Math.PI * x)) / 2),
  /** floor + (peak − floor) (1 − x) */
  linear: (options: ScheduleOptions): Schedule => decay(options, (x) => 1 - x),
} satisfies Record<string, (options: ScheduleOptions) => Schedule>;

function decay({ peak, warmup, steps, floor }: ScheduleOptions, shape: (x: number) => number): Schedule {
  return withWarmup(peak, warmup, (step) => {
    const x = Math.min(1, (step - warmup) / Math.max(1, steps - warmup));
    return floor + (peak - floor) * shape(x);
  });
}

function withWarmup(peak: number, warmup: number, after: Schedule): Schedule {
  return (step) => (step < warmup ? (peak * (step + 1)) / warmup : after(step));
}
