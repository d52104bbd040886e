"""Common practice: Hugging Face GPT-2 with sdpa attention, autocast for bfloat16, fused AdamW, `generate`, and the MiniLLM round as the official
code does it and as a careful user would. Random weights of the true shapes; no dropout; nothing ends a sequence.

In bfloat16 the student trains by autocast on float32 weights and moments, the teacher is held in bfloat16.
"""
import contextlib
import time

import torch
import torch.nn.functional as F
import transformers
from transformers import DynamicCache, GPT2Config, GPT2LMHeadModel

from torch_worker import serve, synchronise

transformers.logging.set_verbosity_error()


class Place:
    """Device and precision of a request."""

    def __init__(self, spec):
        self.device, self.precision = spec["device"], spec.get("precision", "float32")
        torch.backends.cuda.matmul.allow_tf32 = self.precision == "tf32"
        torch.backends.cudnn.allow_tf32 = self.precision == "tf32"
        if "threads" in spec:
            torch.set_num_threads(spec["threads"])

    def cast(self):
        half = self.precision == "bfloat16"
        return torch.autocast(self.device, torch.bfloat16) if half else contextlib.nullcontext()

    def model(self, shape, half=False):
        layers, width, heads, vocab = shape
        torch.manual_seed(0)
        config = GPT2Config(n_layer=layers, n_embd=width, n_head=heads, vocab_size=vocab, n_positions=1024, resid_pdrop=0.0, embd_pdrop=0.0,
                            attn_pdrop=0.0, attn_implementation="sdpa", bos_token_id=0, eos_token_id=0)
        with torch.device(self.device):
            model = GPT2LMHeadModel(config)
        return model.to(torch.bfloat16 if half and self.precision == "bfloat16" else torch.float32).eval()

    def tokens(self, vocab, *sizes):
        return torch.randint(1, vocab, sizes, device=self.device)

    def optimizer(self, model):
        return torch.optim.AdamW(model.parameters(), lr=1e-5, betas=(0.9, 0.95), weight_decay=0.01, fused=self.device == "cuda" or None)


def update(model, optimizer, loss):
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    return float(loss.detach())


def sft(spec):
    place = Place(spec)
    model = place.model(spec["shape"])
    if spec.get("checkpointing"):
        model.train()
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs=dict(use_reentrant=False))
    optimizer = place.optimizer(model)
    ids = place.tokens(spec["shape"][3], spec["batch"], spec["length"] + 1)

    def once():
        with place.cast():
            logits = model(input_ids=ids[:, :-1], use_cache=False).logits
        update(model, optimizer, F.cross_entropy(logits.float().flatten(0, 1), ids[:, 1:].flatten()))

    return once


def score(spec):
    place = Place(spec)
    model = place.model(spec["shape"], half=True)
    ids = place.tokens(spec["shape"][3], spec["batch"], spec["length"] + 1)

    @torch.no_grad()
    def once():
        logits = model(input_ids=ids[:, :-1], use_cache=False).logits
        F.cross_entropy(logits.float().flatten(0, 1), ids[:, 1:].flatten(), reduction="none")

    return once


def generate(spec):
    place = Place(spec)
    model = place.model(spec["shape"], half=True)
    prompts = place.tokens(spec["shape"][3], spec["batch"], spec["prompt"])
    mask, n = torch.ones_like(prompts), spec["response"]

    @torch.no_grad()
    def once():
        model.generate(input_ids=prompts, attention_mask=mask, do_sample=True, top_k=0, top_p=1.0, temperature=1.0, max_new_tokens=n,
                       min_new_tokens=n, eos_token_id=None, pad_token_id=0)

    return once


@torch.no_grad()
def mixed(models, weights, prompts, n, place):
    """Tokens from the mixture of the models' distributions, a key/value cache for each."""
    caches, step, drawn = [DynamicCache() for _ in models], prompts, []
    for _ in range(n):
        total = 0.0
        for model, weight, cache in zip(models, weights, caches):
            with place.cast():
                hidden = model.transformer(input_ids=step, past_key_values=cache, use_cache=True).last_hidden_state[:, -1]
                logits = model.lm_head(hidden)
            total = total + weight * torch.softmax(logits.float(), -1)
        step = torch.multinomial(total, 1)
        drawn.append(step)
    return torch.cat(drawn, 1)


def all_logits(model, ids, place):
    with place.cast():
        return model(input_ids=ids, use_cache=False).logits


def response_logits(model, ids, prompt, place):
    """Those that predict the response; other positions never meet the vocabulary."""
    with place.cast():
        return model.lm_head(model.transformer(input_ids=ids, use_cache=False).last_hidden_state[:, prompt - 1:-1])


def picked(logits, ids):
    return torch.log_softmax(logits.float(), -1).gather(-1, ids.unsqueeze(-1)).squeeze(-1)


def whitened_returns(rewards):
    returns, running = torch.zeros_like(rewards), torch.zeros_like(rewards[:, 0])
    length = rewards.shape[1]
    for t in reversed(range(length)):
        running = rewards[:, t] + 0.95 * running
        returns[:, t] = running / (length - t)
    return (returns - returns.mean()) * torch.rsqrt(returns.var(unbiased=False) + 1e-8)


def minillm_loss(logits, teacher, y, old, advantage, weight):
    logq = torch.log_softmax(logits.float(), -1)
    ratio = torch.exp(logq.gather(-1, y.unsqueeze(-1)).squeeze(-1) - old) * weight
    surrogate = torch.maximum(-advantage * ratio, -advantage * ratio.clamp(0.8, 1.2)).mean()
    return surrogate + (logq.exp() * (logq - teacher)).sum(-1).mean()


def text_loss(logits, teacher, text):
    logq = torch.log_softmax(logits[:, :-1].float(), -1)
    return 0.5 * F.nll_loss(logq.flatten(0, 1), text[:, 1:].flatten()) - 0.5 * (teacher * logq).sum(-1).mean()


def minillm_round(spec, official):
    """`batch` rollouts, then `passes` passes of updates on minibatches beside as many rows of text. Official: a generation of the student's own
    beside that from the mixture, three scorings by each model, and the teacher again at every update. Lean: one of each, the teacher's kept."""
    place = Place(spec)
    student, teacher = place.model(spec["shape"]), place.model(spec["teacher"], half=True)
    vocab, batch, prompt, n, some = spec["shape"][3], spec["batch"], spec["prompt"], spec["response"], spec["minibatch"]
    optimizer, alpha = place.optimizer(student), 0.2

    def scored(model, ids, y):
        part = slice(prompt - 1, prompt + n - 1)
        return torch.cat([picked(all_logits(model, ids[k:k + some], place)[:, part], y[k:k + some]) for k in range(0, batch, some)])

    @torch.no_grad()
    def collect(tick):
        prompts = place.tokens(vocab, batch, prompt)
        y = mixed([student, teacher], [1 - alpha, alpha], prompts, n, place)
        own = mixed([student], [1.0], prompts, n, place) if official else None
        tick("rollout_s")
        ids, kept = torch.cat([prompts, y], 1), None
        if official:
            logp, _ = scored(teacher, ids, y), scored(student, ids, y)
            other = torch.cat([prompts, own], 1)
            scored(teacher, other, own), scored(student, other, own)
            again, old = scored(teacher, ids, y), scored(student, ids, y)
        else:
            parts = range(0, batch, some)
            kept = torch.cat([torch.log_softmax(response_logits(teacher, ids[k:k + some], prompt, place).float(), -1) for k in parts])
            logp = again = kept.gather(-1, y.unsqueeze(-1)).squeeze(-1)
            old = torch.cat([picked(response_logits(student, ids[k:k + some], prompt, place), y[k:k + some]) for k in parts])
        weight = torch.exp(old - torch.log((1 - alpha) * old.exp() + alpha * again.exp()))
        rewards = ((logp - old) / 0.5).clamp(-100, 100)
        tick("scoring_s")
        return ids, y, old, weight, rewards, kept

    def learn(ids, y, old, weight, rewards, kept):
        for _ in range(spec["passes"]):
            for rows in torch.randperm(batch, device=place.device).split(some):
                text = place.tokens(vocab, some, prompt + n)
                if official:
                    both = all_logits(student, torch.cat([ids[rows], text]), place)
                    logits, text_logits = both[:some, prompt - 1:prompt + n - 1], both[some:]
                    with torch.no_grad():
                        target = torch.log_softmax(all_logits(teacher, ids[rows], place)[:, prompt - 1:prompt + n - 1].float(), -1)
                else:
                    logits, text_logits = response_logits(student, ids[rows], prompt, place), all_logits(student, text, place)
                    target = kept[rows]
                with torch.no_grad():
                    soft = torch.softmax(all_logits(teacher, text, place)[:, :-1].float(), -1)
                loss = minillm_loss(logits, target, y[rows], old[rows], whitened_returns(rewards[rows]), weight[rows])
                update(student, optimizer, loss + text_loss(text_logits, soft, text))

    def once():
        parts, start = {}, time.perf_counter()

        def tick(name):
            nonlocal start
            synchronise(spec)
            parts[name], start = time.perf_counter() - start, time.perf_counter()

        learn(*collect(tick))
        tick("inner_s")
        return parts

    return once


def ceilings(spec):
    """The card's rate of 8192-wide products in TFLOP/s by precision."""

    def rate(dtype, tf32):
        torch.backends.cuda.matmul.allow_tf32 = tf32
        n = 8192 if dtype == torch.bfloat16 or tf32 else 4096
        a, b = (torch.randn(n, n, device=spec["device"], dtype=dtype) for _ in "ab")
        a @ b
        synchronise(spec)
        start = time.perf_counter()
        for _ in range(10):
            a @ b
        synchronise(spec)
        return 10 * 2 * n**3 / (time.perf_counter() - start) / 1e12

    return lambda: dict(bfloat16=rate(torch.bfloat16, False), tf32=rate(torch.float32, True), float32=rate(torch.float32, False))


serve(
    {
        "sft": sft,
        "score": score,
        "generate": generate,
        "round-official": lambda spec: minillm_round(spec, True),
        "round-lean": lambda spec: minillm_round(spec, False),
        "ceilings": ceilings,
    },
    dict(torch=torch.__version__, transformers=transformers.__version__, cuda=torch.cuda.is_available()),
)
