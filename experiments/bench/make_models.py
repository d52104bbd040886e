"""Random GPT-2 checkpoints for the comparison, one directory per shape: python make_models.py OUT name:L,D,H,V ...

A name that ends in `-eos` gets a final bias that makes the end token likely at every position, so that sampled responses
have very different lengths (geometric, about 24 tokens on average).
"""
import math
import sys

import torch
from transformers import GPT2Config, GPT2LMHeadModel

out, *shapes = sys.argv[1:]
for entry in shapes:
    name, sizes = entry.split(":")
    L, D, H, V = map(int, sizes.split(","))
    torch.manual_seed(0)
    model = GPT2LMHeadModel(GPT2Config(n_layer=L, n_embd=D, n_head=H, vocab_size=V, n_positions=1024,
                                       bos_token_id=0, eos_token_id=0))
    if name.endswith("-eos"):
        end = model.transformer.wte.weight[0]
        with torch.no_grad():
            model.transformer.ln_f.bias.copy_(end / end.norm() ** 2 * math.log(V / 24))
    model.save_pretrained(f"{out}/{name}")
