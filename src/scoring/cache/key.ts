import { createHash } from 'node:crypto';
import type { Sequence } from '../../models/sequence.js';

/** Bytes of a key. */
export const KEY_BYTES = 16;

/** What a sequence is found again by: the first 16 bytes of SHA-256 over its prompt's length and its token ids, as int32. */
export function sequenceKey({ promptIds, responseIds }: Sequence): Buffer {
  const ids = Int32Array.from([promptIds.length, ...Array.from(promptIds), ...Array.from(responseIds)]);
  return createHash('sha256').update(new Uint8Array(ids.buffer)).digest().subarray(0, KEY_BYTES);
}
