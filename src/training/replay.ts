import type { Sequence } from '../models/packed.js';
import { integer, type Rng } from '../random/streams.js';

/** What DistiLLM remembers between steps: part of the TrainingState. */
export interface Replay {
  /** φ: how much of the training is on own samples. */
  threshold: number;
  /** The validation loss that φ was last judged by; null before the first validation. */
  reference: number | null;
  /** Sampled responses, the oldest first. */
  buffer: Sequence[];
}

/** Adds responses; what exceeds the capacity leaves at the old end. */
export function remember(replay: Replay, sequences: readonly Sequence[], capacity: number): Replay {
  const added = sequences.map(({ promptIds, responseIds }) => ({ promptIds, responseIds }));
  return { ...replay, buffer: [...replay.buffer, ...added].slice(-capacity) };
}

/** `count` different responses of the buffer (the first steps of a Fisher-Yates shuffle). */
export function recall({ buffer }: Replay, count: number, rng: Rng): Sequence[] {
  const rest = [...buffer];
  return Array.from({ length: count }, (_, i) => {
    const j = i + integer(rng, rest.length - i);
    [rest[i], rest[j]] = [rest[j]!, rest[i]!];
    return rest[i]!;
  });
}

/**
 * The adaptive schedule (DistiLLM, arXiv 2402.03898; finetune.py): when the validation loss is `tolerance` or more above the
 * reference, φ grows by `increment`, at most to 1, and that loss is the new reference.
 */
export function judge(
  replay: Replay,
  loss: number,
  { tolerance, increment }: { tolerance: number; increment: number },
): Replay {
  if (replay.reference === null) return { ...replay, reference: loss };
  if (loss < replay.reference + tolerance) return replay;
  // Tenths add up to 0.30000000000000004; φ is compared and printed.
  const threshold = Math.min(1, Math.round((replay.threshold + increment) * 1e9) / 1e9);
  return { ...replay, threshold, reference: loss };
}
