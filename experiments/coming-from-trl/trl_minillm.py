"""MiniLLM as a user of TRL writes it: python trl_minillm.py STUDENT TEACHER prompts.parquet OUT [GAMMA]"""
import sys

from clock import Clock
from datasets import load_dataset
from trl.experimental.minillm import MiniLLMConfig, MiniLLMTrainer

student, teacher, data, out, *more = sys.argv[1:]
args = MiniLLMConfig(
    output_dir=out,
    seed=1,
    num_train_epochs=1,
    per_device_train_batch_size=16,
    num_generations=2,
    max_completion_length=32,
    learning_rate=5e-4,
    lr_scheduler_type="linear",
    gamma=float(more[0]) if more else 1.0,
    rkl_advantage=True,
    single_step_decomposition=True,
    length_normalization=True,
    teacher_model_init_kwargs={"dtype": "float32"},
    model_init_kwargs={"dtype": "float32"},
    bf16=False,
    gradient_checkpointing=False,
    use_cpu=True,
    logging_steps=1,
    save_strategy="no",
    report_to="none",
)
trainer = MiniLLMTrainer(
    model=student,
    teacher_model=teacher,
    args=args,
    train_dataset=load_dataset("parquet", data_files=data, split="train"),
    callbacks=[Clock(out)],
)
trainer.train()
trainer.save_model(out)
