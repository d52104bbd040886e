import { describe, expect, it } from 'vitest';
import { permutation, stream } from '../../src/random/streams.js';
import { batchIndices, distinctIndices } from '../../src/training/order.js';

describe('the order of examples', () => {
  it('is a function of seed, purpose and step: asked in any order, the same', () => {
    const forwards = [0, 1, 2, 3, 4, 5, 6, 7].map((step) => batchIndices(3, 'train', step, 10, 4));
    const backwards = [7, 6, 5, 4, 3, 2, 1, 0].map((step) => batchIndices(3, 'train', step, 10, 4)).reverse();
    expect(backwards).toEqual(forwards);
    expect(batchIndices(4, 'train', 0, 10, 4)).not.toEqual(forwards[0]);
    expect(batchIndices(3, 'pretrain', 0, 10, 4)).not.toEqual(forwards[0]);
  });

  it('epoch after epoch of fresh permutations, batches running across the seams', () => {
    const epochs = [0, 1, 2, 3].flatMap((epoch) =>
      Array.from(permutation(10, stream(3, 'order', 'train', epoch))),
    );
    const found = Array.from({ length: 10 }, (_, step) => batchIndices(3, 'train', step, 10, 4)).flat();
    expect(found).toEqual(epochs);
    expect(new Set(found.slice(0, 10)).size).toBe(10);
    expect(found.slice(0, 10)).not.toEqual(found.slice(10, 20));
  });

  it('a batch larger than the data goes around', () => {
    const found = batchIndices(1, 'train', 0, 3, 7);
    expect([...found].sort()).toEqual([0, 0, 1, 1, 2, 2, found[6]]);
  });

  it('prompts of a round are all different, and every epoch uses all but a rest smaller than a round', () => {
    for (let round = 0; round < 12; round++) {
      const picked = distinctIndices(5, 'prompts', round, 10, 4);
      expect(new Set(picked).size).toBe(4);
      expect(picked).toEqual(distinctIndices(5, 'prompts', round, 10, 4));
    }
    const epoch = [4, 5].flatMap((round) => distinctIndices(5, 'prompts', round, 10, 4));
    expect(new Set(epoch).size).toBe(8);
    expect([...distinctIndices(5, 'prompts', 3, 4, 4)].sort()).toEqual([0, 1, 2, 3]);
    const used = new Set([0, 1, 2, 3, 4, 5, 6, 7].flatMap((r) => distinctIndices(5, 'prompts', r, 10, 4)));
    expect(used.size).toBe(10);
  });
});
