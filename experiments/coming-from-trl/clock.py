"""Seconds and loss of every optimizer step, written to OUT/steps.json when the training ends."""
import json
import os
import time

from transformers import TrainerCallback


class Clock(TrainerCallback):
    def __init__(self, out):
        self.out, self.seconds = out, []

    def on_train_begin(self, args, state, control, **kwargs):
        self.last = time.perf_counter()

    def on_step_end(self, args, state, control, **kwargs):
        now = time.perf_counter()
        self.seconds.append(now - self.last)
        self.last = now

    def on_train_end(self, args, state, control, **kwargs):
        os.makedirs(self.out, exist_ok=True)
        losses = [entry["loss"] for entry in state.log_history if "loss" in entry]
        with open(os.path.join(self.out, "steps.json"), "w") as file:
            json.dump({"seconds": self.seconds, "losses": losses}, file)
