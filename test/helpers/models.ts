import { gpt2Config, llamaConfig } from '../../src/models/families.js';
import { initModel, type Model } from '../../src/models/model.js';

export interface TinyShape {
  family?: 'llama' | 'gpt2';
  vocab?: number;
  hidden?: number;
  layers?: number;
  positions?: number;
  tied?: boolean;
  /** Spread of the random weights: large enough for distributions that are far from uniform. */
  std?: number;
}

/** A small random model; the caller owns its parameters. */
export function tinyModel(seed: number, shape: TinyShape = {}): Model {
  const {
    family = 'llama',
    vocab = 40,
    hidden = 16,
    layers = 2,
    positions = 32,
    tied = true,
    std = 0.3,
  } = shape;
  const common = {
    vocabSize: vocab,
    hiddenSize: hidden,
    layers,
    heads: 2,
    maxPositions: positions,
    tiedHead: tied,
    eosId: 0,
  };
  const config =
    family === 'llama'
      ? llamaConfig({ ...common, kvHeads: 1, intermediateSize: 2 * hidden })
      : gpt2Config({ ...common, intermediateSize: 2 * hidden });
  return initModel({ ...config, initStd: std }, seed);
}
