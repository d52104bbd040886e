import { describe, expect, it } from 'vitest';
import { gpt2Config, llamaConfig, newModelConfig } from '../../src/models/families.js';
import { forwardFlops, modelSize, trainFlops } from '../../src/plan/flops.js';
import { decodingOf, lengths, trainingPasses } from '../../src/plan/passes.js';
import { workOf } from '../../src/plan/work.js';
import { trainConfig } from '../helpers/training.js';

describe('sizes', () => {
  it('GPT-2 124M', () => {
    const shape = { vocabSize: 50257, hiddenSize: 768, layers: 12, heads: 12, maxPositions: 1024 };
    expect(modelSize(gpt2Config(shape))).toEqual({
      parameters: 124_439_808,
      trained: 124_439_808,
      blocks: 85_056_000,
      head: 38_597_376,
      attention: 9216,
    });
  });

  it('LLaMA 7B', () => {
    const shape = { vocabSize: 32000, hiddenSize: 4096, layers: 32, heads: 32, maxPositions: 2048 };
    const size = modelSize(llamaConfig({ ...shape, intermediateSize: 11008, tiedHead: false }));
    expect(size.parameters).toBe(6_738_415_616);
    expect(size.blocks).toBe(6_738_415_616 - 2 * 32000 * 4096);
  });

  it('OPT: its position table is no part of the blocks', () => {
    const shape = { vocabSize: 10, hiddenSize: 4, layers: 1, heads: 2, maxPositions: 8 };
    const { parameters, blocks } = modelSize(newModelConfig('opt', shape));
    expect(parameters - blocks).toBe(10 * 4 + (8 + 2) * 4);
  });
});

describe('operations of a tiny GPT-2, by hand', () => {
  // Blocks: norms 3 · 8, maps 4·12+12, 4·4+4, 4·16+16, 16·4+4: 252 numbers.
  const size = modelSize(gpt2Config({ vocabSize: 10, hiddenSize: 4, layers: 1, heads: 2, maxPositions: 8 }));
  const pass = { tokens: 3, pairs: 6, rows: 2 };

  it('forward: 2·252·3 + 4·4·6 + 2·40·2', () => {
    expect(size).toEqual({ parameters: 324, trained: 324, blocks: 252, head: 40, attention: 4 });
    expect(forwardFlops(size, pass)).toBe(1512 + 96 + 160);
  });

  it('training adapters of 20 values is twice that and 6 a token and value', () => {
    expect(trainFlops({ ...size, trained: 20 }, pass)).toBe(2 * 1768 + 6 * 20 * 3);
  });

  it('training is three times that; checkpointing runs the blocks once more', () => {
    expect(trainFlops(size, pass)).toBe(5304);
    expect(trainFlops(size, pass, true)).toBe(5304 + 1608);
  });
});

it('micro-batches are padded to their longest sequence, whose last token is not read', () => {
  const batch = [lengths(2, 2), lengths(1, 1), lengths(3, 4), lengths(1, 2)];
  expect(trainingPasses(batch, 2)).toEqual([
    { tokens: 4, pairs: 6, rows: 3 }, // lengths 1 and 2
    { tokens: 12, pairs: 42, rows: 6 }, // lengths 3 and 6
  ]);
});

describe('decoding', () => {
  it('leaves a finished row out once a quarter is done', () => {
    expect(decodingOf([lengths(2, 3), lengths(2, 1)], 2)).toEqual({
      prefill: { tokens: 4, pairs: 6, rows: 2 },
      rows: [1, 1],
      decode: { tokens: 2, pairs: 3 + 4, rows: 2 },
      tokens: 4,
    });
  });

  it('gives the place of a finished row to a waiting prompt', () => {
    const { rows, prefill, tokens } = decodingOf([lengths(1, 2), lengths(1, 4), lengths(2, 3)], 2);
    expect(rows).toEqual([2, 2, 2]); // 2 and 4 tokens; then the third prompt beside the last two of the second
    expect(prefill).toEqual({ tokens: 4, pairs: 5, rows: 3 });
    expect(tokens).toBe(9);
  });

  it('no prompts, no work', () => expect(decodingOf([], 4).rows).toEqual([]));
});

it('the head of actions: the output head once more, over the response tokens of an update', () => {
  const train = Array.from({ length: 8 }, () => ({ promptIds: [1, 2], responseIds: [3, 4, 5] }));
  const heads = (baseline: string) => {
    const config = trainConfig({ method: 'minillm', objective: { baseline } });
    const inputs = { train, trainRows: 8, valid: [], teachers: 1, vocabulary: 24, hasText: false };
    const { step } = workOf(config, { ...inputs, responses: 'gold' as const });
    return step.filter(({ part }) => part === 'value_head');
  };
  const more = heads('action-value').filter(({ pass }) => pass.tokens === 0);
  expect(heads('action-value')).toHaveLength(heads('value').length + more.length);
  // 4 responses of 3 tokens in a step, no matter from which of the drawn batches.
  expect(more.reduce((sum, { pass, times }) => sum + times * pass.rows, 0)).toBe(12);
  expect(more.every(({ tokens, model, kind }) => tokens === 0 && model === 0 && kind === 'forward')).toBe(
    true,
  );
});
