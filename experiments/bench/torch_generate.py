"""What `minillm generate` does, in Python: loads a model, samples one response to the prompt of a file, prints it as JSON.

    python torch_generate.py MODEL PROMPTS.jsonl NEW_TOKENS THREADS
"""
import json
import sys

import torch
from transformers import AutoModelForCausalLM

directory, prompts, new_tokens, threads = sys.argv[1:]
torch.set_num_threads(int(threads))
torch.manual_seed(1)
model = AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float32, attn_implementation="sdpa").eval()
n = int(new_tokens)
with open(prompts) as rows:
    for index, row in enumerate(rows):
        ids = torch.tensor([json.loads(row)["ids"]])
        with torch.no_grad():
            out = model.generate(input_ids=ids, attention_mask=torch.ones_like(ids), do_sample=True, temperature=1.0, top_k=0,
                                 top_p=1.0, max_new_tokens=n, min_new_tokens=n, pad_token_id=0)
        print(json.dumps(dict(index=index, ids=out[0, ids.shape[1]:].tolist())))
