import { describe, expect, it } from 'vitest';
import { chunks, packSequences, textSequence } from '../../src/models/packed.js';

describe('sequences side by side', () => {
  it('right-padded, one row for every response token: literal numbers', () => {
    const sequences = [
      { promptIds: [5, 6], responseIds: [7, 8, 9] },
      { promptIds: [3], responseIds: [4] },
    ];
    expect(packSequences(sequences)).toEqual({
      sequences,
      // The last token of a sequence is only predicted, never read.
      ids: Int32Array.of(5, 6, 7, 8, 3, 0, 0, 0),
      batch: 2,
      length: 4,
      rows: Int32Array.of(1, 2, 3, 4),
      targets: Int32Array.of(7, 8, 9, 4),
      counts: Int32Array.of(3, 1),
    });
  });

  it('plain text predicts every token but the first', () => {
    expect(textSequence([4, 5, 6])).toEqual({ promptIds: [4], responseIds: [5, 6] });
    expect(packSequences([textSequence([4, 5, 6])])).toMatchObject({
      ids: Int32Array.of(4, 5),
      rows: Int32Array.of(0, 1),
      targets: Int32Array.of(5, 6),
    });
  });

  it('pieces of at most a size', () => {
    expect(chunks([1, 2, 3, 4, 5], 2)).toEqual([[1, 2], [3, 4], [5]]);
    expect(chunks([], 2)).toEqual([]);
  });
});
