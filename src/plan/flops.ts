import type { ModelConfig } from '../models/config.js';
import { familyOf } from '../models/families.js';
import { trainedParameters } from '../models/lora.js';
import { countOf, parameterCount } from '../models/model.js';

/** The sizes of a model that its cost follows from. */
export interface ModelSize {
  /** Values of the whole model without adapters, a tied head once. */
  parameters: number;
  /** Of these or of its adapters: what trains. */
  trained: number;
  /** Those of the blocks and norms: without word embeddings, position table and head (N of Kaplan et al.). */
  blocks: number;
  /** Multiplications of the head for one row: width times vocabulary. */
  head: number;
  /** Layers · query heads · head size: what a token multiplies with for every token that it attends to, twice. */
  attention: number;
}

/** Work of one pass over a model, whatever model it is. */
export interface Pass {
  /** Positions that go through the blocks, padding included. */
  tokens: number;
  /** Pairs of a position and one that it attends to, summed over the sequences: T(T+1)/2 of a sequence of T. */
  pairs: number;
  /** Rows that meet the vocabulary. */
  rows: number;
}

/** Tables that are looked up, and the head, which only some rows meet. */
const lookedUp = /(^|\.)(wte|wpe|embed_tokens|embed_positions|lm_head)\.weight$/;

export function modelSize(config: ModelConfig): ModelSize {
  const blocks = Object.entries(familyOf(config).parameters(config))
    .filter(([name]) => !lookedUp.test(name))
    .reduce((sum, [, { shape }]) => sum + shape.reduce((product, n) => product * n, 1), 0);
  const width = config.embeddingSize ?? config.hiddenSize;
  return {
    parameters: parameterCount(config),
    trained: countOf(trainedParameters(config)),
    blocks,
    head: width * config.vocabSize,
    attention: config.layers * config.heads * config.headDim,
  };
}

/**
 * Floating-point operations of a forward pass, a multiplication and an addition counted as two:
 *
 *     2 · blocks · tokens  +  4 · layers · heads · head size · pairs  +  2 · width · vocabulary · rows
 *
 * The first term is the 2N a token of Kaplan et al. (arXiv 2001.08361, section 2.1 and table 1), N without embeddings. The
 * second is attention, 2 for q·k and 2 for the sum of the values, as in PaLM (arXiv 2204.02311, appendix B), but only for the
 * pairs that the causal mask lets through, where PaLM counts all T². The third is the head, for the rows that meet it: here
 * the positions that predict a response token. Norms, softmax, activations and losses are not counted. A sliding window
 * is counted as if it looked at everything.
 */
export function forwardFlops(size: ModelSize, { tokens, pairs, rows }: Pass): number {
  return 2 * size.blocks * tokens + 4 * size.attention * pairs + 2 * size.head * rows;
}

/**
 * Forward and backward: three times the forward pass (6N a token), for the backward pass makes two products, one for the
 * gradient of the input and one for that of the weight, where the forward pass makes one. With gradient checkpointing the
 * blocks are run forward once more. Of adapters on a base that stays, the products for the gradients of its weights are not made:
 * twice the forward pass, and 6 a token and value that trains.
 */
export function trainFlops(size: ModelSize, pass: Pass, checkpointing = false): number {
  const frozen = size.trained < size.parameters;
  const own = frozen
    ? 2 * forwardFlops(size, pass) + 6 * size.trained * pass.tokens
    : 3 * forwardFlops(size, pass);
  return own + (checkpointing ? forwardFlops(size, { ...pass, rows: 0 }) : 0);
}

export function addPasses(passes: readonly Pass[]): Pass {
  return {
    tokens: passes.reduce((sum, p) => sum + p.tokens, 0),
    pairs: passes.reduce((sum, p) => sum + p.pairs, 0),
    rows: passes.reduce((sum, p) => sum + p.rows, 0),
  };
}

export function scalePass({ tokens, pairs, rows }: Pass, factor: number): Pass {
  return { tokens: tokens * factor, pairs: pairs * factor, rows: rows * factor };
}
