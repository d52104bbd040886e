import type { Sequence } from '../models/packed.js';
import { admits, cuts } from '../rollout/decodeLoop.js';
import { microBatches } from '../training/microBatches.js';
import { addPasses, type Pass } from './flops.js';

/** A prompt and a response of which only the lengths are known. */
export function lengths(prompt: number, response: number): Sequence {
  return { promptIds: { length: prompt }, responseIds: { length: response } };
}

/** An optimizer batch cut into micro-batches as training cuts it, each padded to its longest sequence. */
export function trainingPasses(sequences: readonly Sequence[], microBatchSize: number | undefined): Pass[] {
  return microBatches(sequences, microBatchSize).map((part) => {
    const length = Math.max(...part.map((s) => s.promptIds.length + s.responseIds.length - 1));
    const rows = part.reduce((sum, s) => sum + s.responseIds.length, 0);
    return { tokens: part.length * length, pairs: (part.length * length * (length + 1)) / 2, rows };
  });
}

/** Work of one model in answering prompts: the prompts are read, then all rows go on token by token. */
export interface Decoding {
  prefill: Pass;
  /** Rows that a decoding step computes, step after step. */
  rows: number[];
  /** The same work as one pass. */
  decode: Pass;
  /** Tokens that are kept. */
  tokens: number;
}

/** Goes through the steps of `decodeAll` for responses of known length, `width` of them together. */
export function decodingOf(sequences: readonly Sequence[], width: number): Decoding {
  const waiting = sequences
    .map((s) => ({ prompt: s.promptIds.length, left: s.responseIds.length - 1 }))
    .sort((a, b) => a.prompt - b.prompt);
  const prefill: Pass[] = [];
  const decode: Pass[] = [];
  const rows: number[] = [];
  const full = Math.min(width, waiting.length);
  let batch: { prompt: number; left: number; seen: number }[] = [];
  while (waiting.length > 0 || batch.some(({ left }) => left > 0)) {
    const going = batch.filter(({ left }) => left > 0);
    if (waiting.length > 0 && admits(full - going.length, full, waiting.length)) {
      const admitted = waiting.splice(0, full - going.length);
      const length = Math.max(...admitted.map(({ prompt }) => prompt));
      const n = admitted.length;
      prefill.push({ tokens: n * length, pairs: (n * length * (length + 1)) / 2, rows: n });
      batch = [...going, ...admitted.map((row) => ({ ...row, seen: 0 }))];
    }
    // Reading a prompt gives the first token already, which may be the last.
    const left = batch.filter((row) => row.left > 0);
    if (waiting.length === 0 && cuts(left.length, batch.length)) batch = left;
    if (left.length === 0) continue;
    rows.push(batch.length);
    const pairs = batch.reduce((sum, row) => sum + row.prompt + row.seen + 1, 0);
    decode.push({ tokens: batch.length, pairs, rows: batch.length });
    for (const row of batch) {
      row.left--;
      row.seen++;
    }
  }
  const tokens = sequences.reduce((sum, s) => sum + s.responseIds.length, 0);
  return { prefill: addPasses(prefill), rows, decode: addPasses(decode), tokens };
}
