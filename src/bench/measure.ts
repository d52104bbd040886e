import { deviceMemory, settle } from '../tensor/deviceMemory.js';

/** One run of a workload: seconds of each named part, which add up to the whole, and the tokens it worked through. */
export interface Sample {
  parts: Record<string, number>;
  tokens: number;
}

export interface Measurement {
  /** Median seconds of one run. */
  seconds: number;
  tokens_per_s: number;
  /** The largest resident set of the process so far, loading and warming up included, in 10^6 bytes. */
  peak_rss_mb: number;
  /** On a card: the most of its memory that was handed out at once, in 10^6 bytes. */
  peak_device_mb?: number;
  repeats: number;
  /** Quickest and slowest run: a median whose neighbours are far away means little. */
  min_s: number;
  max_s: number;
  /** Median seconds of each part (`rollout_s`, ...); empty where the work has no parts. */
  parts: Record<string, number>;
}

/** Runs the work `warmup` times unseen, then `repeat` times on the clock. */
export async function measure(
  work: () => Promise<Sample>,
  options: { warmup: number; repeat: number; onRun?: (done: number, seconds: number) => void },
): Promise<Measurement> {
  for (let i = 0; i < options.warmup; i++) await work();
  const samples: Sample[] = [];
  for (let i = 0; i < options.repeat; i++) {
    samples.push(await work());
    options.onRun?.(i + 1, total(samples.at(-1)!));
  }
  const totals = samples.map(total);
  const card = deviceMemory();
  const seconds = median(totals);
  const names = Object.keys(samples[0]!.parts);
  return {
    seconds,
    tokens_per_s: median(samples.map((s) => s.tokens / total(s))),
    peak_rss_mb: Math.round(process.resourceUsage().maxRSS * 1.024e-3), // maxRSS is in KiB
    ...(card && { peak_device_mb: Math.round(card.peak / 1e6) }),
    repeats: samples.length,
    min_s: Math.min(...totals),
    max_s: Math.max(...totals),
    parts: Object.fromEntries(names.map((name) => [name, median(samples.map((s) => s.parts[name]!))])),
  };
}

/** Seconds that a piece of work takes, beside what it returns. */
export async function timed<T>(work: () => T | Promise<T>): Promise<[T, number]> {
  const from = performance.now();
  const result = await work();
  settle();
  return [result, (performance.now() - from) / 1000];
}

function total({ parts }: Sample): number {
  return Object.values(parts).reduce((sum, seconds) => sum + seconds, 0);
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const half = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[half]! : (sorted[half - 1]! + sorted[half]!) / 2;
}
