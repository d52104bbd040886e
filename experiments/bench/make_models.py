"""Random checkpoints for the comparison, one directory per shape: python make_models.py OUT name:L,D,H,V ...

GPT-2, or LLaMA with half as many key/value heads where the name begins with `llama`. A name that ends in `-eos` gets a final
bias that makes the end token likely at every position, so that sampled responses have very different lengths (geometric,
about 24 tokens on average).
"""
import math
import sys

import torch
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM


def gpt2(L, D, H, V):
    return GPT2LMHeadModel(GPT2Config(n_layer=L, n_embd=D, n_head=H, vocab_size=V, n_positions=1024,
                                      bos_token_id=0, eos_token_id=0))


def llama(L, D, H, V):
    return LlamaForCausalLM(LlamaConfig(
        num_hidden_layers=L, hidden_size=D, num_attention_heads=H, num_key_value_heads=H // 2, vocab_size=V,
        intermediate_size=-(-D * 8 // 96) * 32, max_position_embeddings=1024, bos_token_id=0, eos_token_id=0))


def likely_end(model, V):
    end = model.transformer.wte.weight[0]
    with torch.no_grad():
        model.transformer.ln_f.bias.copy_(end / end.norm() ** 2 * math.log(V / 24))


def main():
    out, *shapes = sys.argv[1:]
    for entry in shapes:
        name, sizes = entry.split(":")
        L, D, H, V = map(int, sizes.split(","))
        torch.manual_seed(0)
        model = (llama if name.startswith("llama") else gpt2)(L, D, H, V)
        if name.endswith("-eos"):
            likely_end(model, V)
        model.save_pretrained(f"{out}/{name}")


main()
