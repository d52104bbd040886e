"""The strongest plain PyTorch: the training step by torch.compile, and decoding with a static cache whose whole step, draw included, is one CUDA
graph. No Hugging Face `generate`."""
import torch
import torch.nn.functional as F

from torch_worker import serve

WIDE = 1024  # positions


def sft(spec):
    from transformers import GPT2Config, GPT2LMHeadModel

    layers, width, heads, vocab = spec["shape"]
    half, device = spec["precision"] == "bfloat16", spec["device"]
    torch.backends.cuda.matmul.allow_tf32 = spec["precision"] == "tf32" or half
    with torch.device(device):
        model = GPT2LMHeadModel(GPT2Config(n_layer=layers, n_embd=width, n_head=heads, vocab_size=vocab, resid_pdrop=0.0, embd_pdrop=0.0,
                                           attn_pdrop=0.0, attn_implementation="sdpa"))
    model.train()
    ids = torch.randint(0, vocab, (spec["batch"], spec["length"] + 1), device=device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5, betas=(0.9, 0.95), fused=device == "cuda" or None)

    @torch.compile
    def loss_of(ids):
        with torch.autocast(device, torch.bfloat16, enabled=half):
            logits = model(input_ids=ids[:, :-1], use_cache=False).logits
        return F.cross_entropy(logits.float().flatten(0, 1), ids[:, 1:].flatten())

    def once():
        loss = loss_of(ids)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()

    return once


def affine(x, weight, bias):
    """One product with its bias, [I, O] weights."""
    return torch.addmm(bias, x.flatten(0, 1), weight).unflatten(0, x.shape[:2])


class Decoder:
    """GPT-2 with weights and caches in one type. Slots are fixed; a mask hides those that are still empty."""

    def __init__(self, shape, batch, slots, device, dtype):
        self.layers, self.width, self.heads, vocab = shape
        self.batch, self.slots, head = batch, slots, self.width // self.heads
        D = self.width

        def random(*sizes):
            return (torch.randn(*sizes, device=device) * 0.02).to(dtype)

        self.tokens, self.places = random(vocab, D), random(WIDE, D)
        names = dict(g1=(D,), b1=(D,), wqkv=(D, 3 * D), bqkv=(3 * D,), wo=(D, D), bo=(D,), g2=(D,), b2=(D,), w1=(D, 4 * D), c1=(4 * D,),
                     w2=(4 * D, D), c2=(D,))
        self.blocks = [{name: random(*sizes) for name, sizes in names.items()} for _ in range(self.layers)]
        for block in self.blocks:
            block["g1"] += 1
            block["g2"] += 1
            block["k"], block["v"] = (torch.zeros(batch, self.heads, slots, head, device=device, dtype=dtype) for _ in "kv")
        self.gain, self.bias = random(D) + 1, random(D)

    def hidden(self, ids, positions, mask):
        """States of [B, T] tokens at the same `positions` of every row; writes their keys and values to the cache."""
        B, T = ids.shape
        x = self.tokens[ids] + self.places[positions]
        for b in self.blocks:
            qkv = affine(F.layer_norm(x, (self.width,), b["g1"], b["b1"]), b["wqkv"], b["bqkv"])
            q, k, v = (part.view(B, T, self.heads, -1).transpose(1, 2) for part in qkv.chunk(3, -1))
            b["k"].index_copy_(2, positions, k)
            b["v"].index_copy_(2, positions, v)
            attended = F.scaled_dot_product_attention(q, b["k"], b["v"], attn_mask=mask)
            x = x + affine(attended.transpose(1, 2).reshape(B, T, self.width), b["wo"], b["bo"])
            inner = F.gelu(affine(F.layer_norm(x, (self.width,), b["g2"], b["b2"]), b["w1"], b["c1"]), approximate="tanh")
            x = x + affine(inner, b["w2"], b["c2"])
        return F.layer_norm(x, (self.width,), self.gain, self.bias)

    def logits(self, hidden):
        return hidden @ self.tokens.t()


def generate(spec):
    device, prompt, response, batch = spec["device"], spec["prompt"], spec["response"], spec["batch"]
    torch.backends.cuda.matmul.allow_tf32 = spec["precision"] == "tf32"
    slots = prompt + response
    dtype = torch.bfloat16 if spec["precision"] == "bfloat16" else torch.float32
    with torch.no_grad():
        model = Decoder(spec["shape"], batch, slots, device, dtype)
        prompts = torch.randint(0, spec["shape"][3], (batch, prompt), device=device)
        places, slot = torch.arange(prompt, device=device), torch.arange(slots, device=device)
        causal = slot[None, :] <= places[:, None]
        token = torch.zeros(batch, 1, dtype=torch.long, device=device)
        position = torch.full((1,), prompt, dtype=torch.long, device=device)

        def draw(hidden):
            token.copy_(torch.multinomial(torch.softmax(model.logits(hidden).float(), -1), 1))

        def step():
            draw(model.hidden(token, position, (slot <= position)[None])[:, 0])
            position.add_(1)

        graph = captured(step, lambda: position.fill_(prompt)) if device == "cuda" else None

        def once():
            with torch.no_grad():
                draw(model.hidden(prompts, places, causal)[:, -1])
                position.fill_(prompt)
                for _ in range(response - 1):
                    graph.replay() if graph else step()

    return once


def captured(step, reset):
    """The step as a CUDA graph, after three runs on a stream of its own as the manual asks."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            step()
    torch.cuda.current_stream().wait_stream(stream)
    reset()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step()
    return graph


serve({"sft": sft, "generate": generate}, dict(torch=torch.__version__, cuda=torch.cuda.is_available()))
