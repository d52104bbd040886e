"""The PyTorch side of the benchmark: a process that takes turns with ours. One JSON object a line, in and out.

    {"do": "prepare", "work": ..., ...}   makes models and warms up      -> {"ready": true}
    {"do": "turn"}                        does the work `repeats` times   -> {"seconds": median, "peak_gb": ...}

What goes wrong is {"error": one line}.
"""
import json
import statistics
import sys
import time

import torch


def synchronise(spec):
    if spec["device"] == "cuda":
        torch.cuda.synchronize()


def serve(works, versions):
    """`works`: name -> function of the request that returns what does the work once (and may return numbers to tell)."""
    spec, once = None, None
    print(json.dumps(versions), flush=True)
    for line in sys.stdin:
        try:
            request = json.loads(line)
            if request["do"] == "prepare":
                spec, once = request, None  # what was there goes first
                once = works[request["work"]](request)
                once()
                once()
                synchronise(spec)
                if spec["device"] == "cuda":
                    torch.cuda.reset_peak_memory_stats()
                answer = dict(ready=True)
            else:
                answer = turn(spec, once)
        except Exception as error:  # said to the other side, which goes on
            text = str(error).strip().splitlines()
            answer = dict(error=f"{type(error).__name__}: {text[0] if text else ''}"[:300])
        print(json.dumps(answer), flush=True)


def turn(spec, once):
    seconds, numbers = [], {}
    for _ in range(spec.get("repeats", 1)):
        synchronise(spec)
        start = time.perf_counter()
        numbers = once() or {}
        synchronise(spec)
        seconds.append(time.perf_counter() - start)
    if spec["device"] == "cuda":
        numbers["peak_gb"] = torch.cuda.max_memory_allocated() / 1e9
    return dict(numbers, seconds=statistics.median(seconds))

