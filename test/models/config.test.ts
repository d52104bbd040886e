import { describe, expect, it } from 'vitest';
import { UsageError } from '../../src/errors.js';
import { familyNames, parseConfig } from '../../src/models/families.js';

const llama = {
  architectures: ['LlamaForCausalLM'],
  model_type: 'llama',
  vocab_size: 100,
  hidden_size: 32,
  intermediate_size: 64,
  num_hidden_layers: 2,
  num_attention_heads: 4,
  num_key_value_heads: 2,
  max_position_embeddings: 128,
  eos_token_id: 2,
};
const gpt2 = { model_type: 'gpt2', vocab_size: 100, n_embd: 32, n_layer: 2, n_head: 4, n_positions: 64 };
const parse = (hf: Record<string, unknown>) => parseConfig(hf, 'dir/config.json');

describe('config.json', () => {
  it('gives the shape of a llama', () => {
    expect(
      parse({ ...llama, rope_theta: 5e5, rms_norm_eps: 1e-5, tie_word_embeddings: true, bos_token_id: 1 }),
    ).toEqual({
      family: 'llama',
      vocabSize: 100,
      hiddenSize: 32,
      layers: 2,
      heads: 4,
      kvHeads: 2,
      headDim: 8,
      intermediateSize: 64,
      maxPositions: 128,
      normEps: 1e-5,
      ropeTheta: 5e5,
      attentionBias: false,
      outputBias: false,
      mlpBias: false,
      tiedHead: true,
      initStd: 0.02,
      bosId: 1,
      eosIds: [2],
      hf: { ...llama, rope_theta: 5e5, rms_norm_eps: 1e-5, tie_word_embeddings: true, bos_token_id: 1 },
    });
  });

  it('fills in the defaults of transformers', () => {
    expect(parse({ model_type: 'llama' })).toMatchObject({
      vocabSize: 32000,
      hiddenSize: 4096,
      layers: 32,
      kvHeads: 32,
      headDim: 128,
      ropeTheta: 10000,
      tiedHead: false,
      eosIds: [],
    });
    expect(parse({ model_type: 'gpt2' })).toMatchObject({
      vocabSize: 50257,
      hiddenSize: 768,
      layers: 12,
      headDim: 64,
      intermediateSize: 3072,
      maxPositions: 1024,
      tiedHead: true,
    });
  });

  it('finds the rotary base where transformers 4 and 5 keep it, and takes null for absent', () => {
    expect(parse({ ...llama, rope_parameters: { rope_theta: 300, rope_type: 'default' } }).ropeTheta).toBe(
      300,
    );
    expect(parse({ ...llama, rope_theta: 400, rope_scaling: null }).ropeTheta).toBe(400);
    expect(parse({ ...llama, rope_scaling: { type: 'default' } }).ropeTheta).toBe(10000);
    expect(parse({ ...llama, num_key_value_heads: null, head_dim: null, hidden_act: null })).toMatchObject({
      kvHeads: 4,
      headDim: 8,
    });
  });

  it('reads how rotary positions are scaled', () => {
    const llama3 = {
      rope_type: 'llama3',
      factor: 8,
      low_freq_factor: 1,
      high_freq_factor: 4,
      original_max_position_embeddings: 8192,
    };
    const scaling = { type: 'llama3', factor: 8, lowFactor: 1, highFactor: 4, originalPositions: 8192 };
    expect(parse({ ...llama, rope_scaling: llama3 }).ropeScaling).toEqual(scaling);
    expect(parse({ ...llama, rope_parameters: llama3 }).ropeScaling).toEqual(scaling);
    expect(parse({ ...llama, rope_scaling: { type: 'linear', factor: 2 } }).ropeScaling).toEqual({
      type: 'linear',
      factor: 2,
    });
  });

  it('knows how far each layer looks back', () => {
    const shape = { hidden_size: 32, num_hidden_layers: 3, num_attention_heads: 4, num_key_value_heads: 4 };
    const qwen = { model_type: 'qwen2', ...shape, sliding_window: 9, max_window_layers: 1 };
    expect(parse(qwen).windows).toBeUndefined();
    expect(parse({ ...qwen, use_sliding_window: true }).windows).toEqual([0, 9, 9]);
    const layer_types = ['sliding_attention', 'full_attention', 'full_attention'];
    expect(parse({ ...qwen, use_sliding_window: true, layer_types }).windows).toEqual([9, 0, 0]);
    expect(() => parse({ ...qwen, layer_types })).toThrow('layer_types[0] is "sliding_attention", but');
    expect(parse({ model_type: 'mistral', ...shape }).windows).toEqual([4096, 4096, 4096]);
    expect(parse({ model_type: 'mistral', ...shape, sliding_window: null }).windows).toBeUndefined();
  });

  it("takes transformers' other names of GPT-2's sizes", () => {
    const aliased = { model_type: 'gpt2', hidden_size: 32, num_attention_heads: 4, num_hidden_layers: 2 };
    expect(parse({ ...aliased, max_position_embeddings: 64, n_embd: 32 })).toMatchObject({
      hiddenSize: 32,
      heads: 4,
      layers: 2,
      maxPositions: 64,
    });
  });

  it('the padding token of an OPT that names none is that of transformers, 1; null is none', () => {
    const opt = { model_type: 'opt', hidden_size: 24, num_attention_heads: 4 };
    expect(parse(opt).padId).toBe(1);
    expect(parse({ ...opt, pad_token_id: null }).padId).toBeUndefined();
  });

  it('keeps the end tokens that the vocabulary has', () => {
    expect(parse({ ...llama, eos_token_id: [2, 7, 2, 100] }).eosIds).toEqual([2, 7]);
    expect(parse({ ...gpt2, eos_token_id: 50256 }).eosIds).toEqual([]);
    expect(parse({ ...llama, eos_token_id: null }).eosIds).toEqual([]);
  });

  it('fields that change nothing are let through', () => {
    expect(
      parse({ ...llama, attention_dropout: 0.1, pretraining_tp: 2, use_cache: false, whatever: [1] }).layers,
    ).toBe(2);
    expect(parse({ ...gpt2, resid_pdrop: 0.1, reorder_and_upcast_attn: true, n_ctx: 5 }).layers).toBe(2);
  });

  const refused: [string, Record<string, unknown>, string][] = [
    ['no model_type', {}, 'model_type is missing; supported: llama, gpt2, opt, qwen2, qwen3, mistral'],
    [
      'another architecture',
      { model_type: 'mamba' },
      'model_type is "mamba"; supported: llama, gpt2, opt, qwen2, qwen3, mistral',
    ],
    ['a name from the prototype', { model_type: 'toString' }, 'model_type is "toString"'],
    [
      'another head',
      { ...llama, architectures: ['LlamaForSequenceClassification'] },
      'only LlamaForCausalLM is supported',
    ],
    [
      'scaled rotary positions that lack a number',
      { ...llama, rope_scaling: { rope_type: 'llama3', factor: 8, low_freq_factor: 1, high_freq_factor: 4 } },
      'rope_scaling.original_max_position_embeddings is missing; llama3 scaling needs it',
    ],
    [
      'scaled rotary positions, old name',
      { ...llama, rope_scaling: { type: 'dynamic', factor: 2 } },
      'rope_scaling.rope_type is "dynamic"; only "default", "linear" and "llama3" are supported',
    ],
    [
      'scaled rotary positions, new place',
      { ...llama, rope_parameters: { rope_type: 'yarn' } },
      'rope_parameters.rope_type is "yarn"',
    ],
    [
      'partial rotation',
      { ...llama, partial_rotary_factor: 0.5 },
      'partial_rotary_factor is 0.5; only 1 is supported',
    ],
    [
      'another activation',
      { ...llama, hidden_act: 'gelu' },
      'hidden_act is "gelu"; only "silu" is supported',
    ],
    [
      'quantised weights',
      { ...llama, quantization_config: { bits: 4 } },
      'quantization_config is {"bits":4}; only null is supported',
    ],
    [
      'heads that do not divide the width',
      { ...llama, num_attention_heads: 5 },
      'hidden_size 32 is no multiple of num_attention_heads 5',
    ],
    [
      'heads that do not share evenly',
      { ...llama, num_key_value_heads: 3 },
      'num_attention_heads 4 is no multiple of num_key_value_heads 3',
    ],
    ['an odd head size', { ...llama, head_dim: 7 }, 'head_dim is 7; rotary positions need an even one'],
    ['a size of the wrong type', { ...llama, hidden_size: '32' }, 'hidden_size is "32"'],
    ['a negative size', { ...llama, vocab_size: -1 }, 'vocab_size is -1'],
    ['an absurd size', { ...llama, num_hidden_layers: 1e9 }, 'num_hidden_layers is 1000000000'],
    ['a flag of the wrong type', { ...llama, tie_word_embeddings: 'no' }, 'tie_word_embeddings is "no"'],
    ['an end token of the wrong type', { ...llama, eos_token_id: '</s>' }, 'eos_token_id is "</s>"'],
    [
      'another GPT-2 activation',
      { ...gpt2, activation_function: 'gelu_10' },
      'activation_function is "gelu_10"; supported: gelu_new, gelu_pytorch_tanh, gelu_fast, gelu, relu, silu, swish',
    ],
    ['an activation from the prototype', { ...gpt2, activation_function: 'toString' }, '"toString"; supp'],
    ['attention that looks ahead', { ...gpt2, is_causal: false }, 'is_causal is false; only true'],
    [
      'two names of one size that differ',
      { ...gpt2, hidden_size: 40 },
      'hidden_size is 40 and n_embd, which means the same, is 32',
    ],
    [
      'rotary settings for each kind of layer',
      { ...llama, rope_parameters: { full_attention: { rope_theta: 5 } } },
      'rope_parameters.full_attention is an object; rotary settings for each kind of layer',
    ],
    [
      'weights in a file of another name',
      { ...llama, transformers_weights: 'other.safetensors' },
      'transformers_weights is "other.safetensors"; only null',
    ],
    ['cross-attention', { ...gpt2, add_cross_attention: true }, 'add_cross_attention is true; only false'],
    [
      'GPT-2 heads that do not divide the width',
      { ...gpt2, n_head: 5 },
      'n_embd 32 is no multiple of n_head 5',
    ],
  ];
  it.each(refused)('refuses %s, by name', (_, hf, message) => {
    expect(() => parse(hf)).toThrow(UsageError);
    expect(() => parse(hf)).toThrow(`dir/config.json: `);
    expect(() => parse(hf)).toThrow(message);
  });

  it('names the families', () =>
    expect(familyNames).toEqual(['llama', 'gpt2', 'opt', 'qwen2', 'qwen3', 'mistral']));
});
