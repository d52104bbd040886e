"""The work of `minillm bench`, in PyTorch with Hugging Face models: same weights, same sizes, same number of threads.

    python torch_bench.py --what sft --model DIR --batch 16 --seq 128

Prints one JSON object: median seconds over the repeats, their spread, and the peak resident set of the process. The
MiniLLM round comes twice. `official` follows microsoft/LMOps, minillm/ (sampler.py, trainer.py, losses.py at commit
4f2a9deb): a generation from the mixture and one from the student alone, three scorings by the teacher and three by the
student, and the teacher again at every update. `lean` is what a careful PyTorch user would write: one generation, one
scoring by each model, and the teacher's distributions kept for all passes. Default allocator, sdpa attention, float32.
"""
import argparse
import json
import resource
import statistics
import sys
import time

import torch
import torch.nn.functional as F
from transformers import AutoModelForCausalLM


def arguments():
    p = argparse.ArgumentParser()
    p.add_argument("--what", required=True,
                   choices=["score", "sft", "generate", "generate-eos", "round-official", "round-lean"])
    p.add_argument("--model", required=True)
    p.add_argument("--teacher")
    for name, value in dict(batch=16, prompt_len=32, max_response=64, seq=128, minibatch=16, inner=4, pt_len=96,
                            warmup=1, repeat=3, threads=2).items():
        p.add_argument("--" + name.replace("_", "-"), type=int, default=value)
    p.add_argument("--alpha", type=float, default=0.2)
    p.add_argument("--input", help="generate: JSONL rows {\"ids\": [...]} of one length, the prompts")
    return p.parse_args()


def read_prompts(file):
    with open(file) as lines:
        return torch.tensor([json.loads(line)["ids"] for line in lines])


def load(directory):
    model = AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float32, attn_implementation="sdpa")
    return model.eval()  # no dropout, as in our own training


def token_logprobs(logits, targets):
    return torch.log_softmax(logits, -1).gather(-1, targets.unsqueeze(-1)).squeeze(-1)


def score(model, ids):
    with torch.no_grad():
        logits = model(input_ids=ids[:, :-1], use_cache=False).logits
        return -F.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten(), reduction="none")


def generate(model, prompts, n, eos=False):
    config = dict(max_new_tokens=n, do_sample=True, temperature=1.0, top_k=0, top_p=1.0, pad_token_id=0)
    if not eos:
        config["min_new_tokens"] = n
    with torch.no_grad():
        return model.generate(input_ids=prompts, attention_mask=torch.ones_like(prompts), **config)


def mixed_generate(student, teacher, prompts, n, alpha):
    """y ~ alpha p + (1 - alpha) q, mixed in probability space, a key/value cache for each model."""
    with torch.no_grad():
        ids, caches, step = prompts, [None, None], prompts
        for _ in range(n):
            outs = [m(input_ids=step, past_key_values=c, use_cache=True, logits_to_keep=1)
                    for m, c in zip((student, teacher), caches)]
            caches = [o.past_key_values for o in outs]
            q, p = (torch.softmax(o.logits[:, -1], -1) for o in outs)
            step = torch.multinomial(torch.lerp(q, p, alpha), 1)
            ids = torch.cat([ids, step], 1)
        return ids


def optimizer_of(model):
    return torch.optim.AdamW(model.parameters(), lr=1e-5, betas=(0.9, 0.95), weight_decay=0.01)


def update(model, optimizer, loss):
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)


def sft_step(model, optimizer, ids):
    logits = model(input_ids=ids[:, :-1], use_cache=False).logits
    update(model, optimizer, F.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten()))


def response_logits(model, ids, prompt_len):
    """Logits that predict the response; positions of the prompt never meet the vocabulary."""
    return model(input_ids=ids[:, :-1], use_cache=False, logits_to_keep=ids.shape[1] - prompt_len).logits


def batches(model, ids, prompt_len, size):
    with torch.no_grad():
        return torch.cat([response_logits(model, part, prompt_len) for part in ids.split(size)])


def minillm_loss(logits, p_logits, responses, old, advantage, w):
    logq = torch.log_softmax(logits, -1)
    logp = torch.log_softmax(p_logits, -1)
    new = logq.gather(-1, responses.unsqueeze(-1)).squeeze(-1)
    ratio = torch.exp(new - old) * w
    surrogate = torch.max(-advantage * ratio, -advantage * ratio.clamp(0.8, 1.2)).mean()
    single_step = (logq.exp() * (logq - logp)).sum(-1).mean()
    return surrogate + single_step


def pretraining_loss(logits, p_logits, targets):
    soft = -(torch.softmax(p_logits, -1) * torch.log_softmax(logits, -1)).sum(-1).mean()
    return 0.5 * F.cross_entropy(logits.flatten(0, 1), targets.flatten()) + 0.5 * soft


def advantages(rewards):
    """Discounted returns over the remaining tokens, whitened (losses.py:27-56)."""
    returns = torch.zeros_like(rewards)
    running = torch.zeros(rewards.shape[0])
    for t in reversed(range(rewards.shape[1])):
        running = rewards[:, t] + 0.95 * running
        returns[:, t] = running / (rewards.shape[1] - t)
    return (returns - returns.mean()) * torch.rsqrt(returns.var(unbiased=False) + 1e-8)


def round_of(student, teacher, optimizer, prompts, corpus, a, official):
    clock = time.perf_counter
    start = clock()
    P = a.prompt_len
    ids = mixed_generate(student, teacher, prompts, a.max_response, a.alpha)
    own = generate(student, prompts, a.max_response) if official else None
    rollout_s = clock() - start
    start = clock()
    responses = ids[:, P:]
    kept = None
    if official:  # reward, mixture, and the scores of the student's own generation
        for scored in (ids, ids, own):
            p_logits = batches(teacher, scored, P, a.minibatch)
            q_logits = batches(student, scored, P, a.minibatch)
            logp, logq = (token_logprobs(x, scored[:, P:]) for x in (p_logits, q_logits))
            if scored is ids:
                kept_logp, kept_logq = logp, logq
        logp, logq = kept_logp, kept_logq
        del p_logits, q_logits
    else:
        kept = batches(teacher, ids, P, a.minibatch)
        logp = token_logprobs(kept, responses)
        logq = torch.cat([token_logprobs(batches(student, part, P, a.minibatch), part[:, P:])
                          for part in ids.split(a.minibatch)])
    kept_text = None if official else batches(teacher, corpus, 1, a.minibatch)
    w = torch.exp(logq - torch.log((1 - a.alpha) * logq.exp() + a.alpha * logp.exp()))
    rewards = ((logp - logq) / 0.5).clamp(-100, 100)
    scoring_s = clock() - start
    start = clock()
    for _ in range(a.inner):
        for i in range(0, a.batch, a.minibatch):
            rows = slice(i, i + a.minibatch)
            with torch.no_grad():
                p_logits = response_logits(teacher, ids[rows], P) if official else kept[rows]
                p_text = response_logits(teacher, corpus[rows], 1) if official else kept_text[rows]
            # As the official code, one forward for both where their lengths agree.
            loss = minillm_loss(response_logits(student, ids[rows], P), p_logits, responses[rows], logq[rows],
                                advantages(rewards[rows]), w[rows])
            loss = loss + pretraining_loss(response_logits(student, corpus[rows], 1), p_text, corpus[rows][:, 1:])
            update(student, optimizer, loss)
    return dict(rollout_s=rollout_s, scoring_s=scoring_s, inner_s=clock() - start)


def main():
    a = arguments()
    torch.set_num_threads(a.threads)
    torch.manual_seed(0)
    student = load(a.model)
    vocab = student.config.vocab_size
    rows = lambda n, length: torch.randint(0, vocab, (n, length))
    if a.what == "score":
        ids = rows(a.batch, a.seq + 1)
        work = lambda: score(student, ids)
    elif a.what == "sft":
        ids, optimizer = rows(a.batch, a.seq + 1), optimizer_of(student)
        work = lambda: sft_step(student, optimizer, ids)
    elif a.what.startswith("generate"):
        prompts = read_prompts(a.input) if a.input else rows(a.batch, a.prompt_len)
        work = lambda: generate(student, prompts, a.max_response, eos=a.what == "generate-eos")
    else:
        teacher, optimizer = load(a.teacher), optimizer_of(student)
        prompts, corpus = rows(a.batch, a.prompt_len), rows(a.batch, a.pt_len)
        work = lambda: round_of(student, teacher, optimizer, prompts, corpus, a, a.what == "round-official")
    for _ in range(a.warmup):
        work()
    seconds, parts = [], []
    for _ in range(a.repeat):
        start = time.perf_counter()
        parts.append(work())
        seconds.append(time.perf_counter() - start)
    result = dict(what=a.what, seconds=statistics.median(seconds), min_s=min(seconds), max_s=max(seconds),
                  repeats=a.repeat, torch=torch.__version__,
                  peak_rss_mb=round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1.024e-3))
    if a.what.startswith("round"):
        for name in parts[0]:
            result[name] = statistics.median(p[name] for p in parts)
    json.dump(result, sys.stdout)
    print()


if __name__ == "__main__":
    main()
