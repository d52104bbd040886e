"""The same GKD with the trainer that TRL recommends in its place: python trl_distillation.py STUDENT TEACHER messages.jsonl OUT"""
import sys

from clock import Clock
from datasets import load_dataset
from transformers import AutoModelForCausalLM, AutoTokenizer
from trl import DistillationConfig, DistillationTrainer

student, teacher, data, out = sys.argv[1:]
args = DistillationConfig(
    output_dir=out,
    seed=1,
    max_steps=20,
    per_device_train_batch_size=8,
    gradient_accumulation_steps=2,
    max_completion_length=32,
    temperature=1.0,
    beta=0.5,
    learning_rate=1e-3,
    lr_scheduler_type="cosine",
    warmup_steps=2,
    bf16=False,
    gradient_checkpointing=False,
    use_cpu=True,
    logging_steps=1,
    save_strategy="no",
    report_to="none",
)
rows = load_dataset("json", data_files=data, split="train")
trainer = DistillationTrainer(
    model=AutoModelForCausalLM.from_pretrained(student, dtype="float32"),
    teacher_model=AutoModelForCausalLM.from_pretrained(teacher, dtype="float32"),
    args=args,
    processing_class=AutoTokenizer.from_pretrained(student),
    train_dataset=rows.map(lambda row: {"prompt": row["messages"][:-1]}, remove_columns=rows.column_names),
    callbacks=[Clock(out)],
)
trainer.train()
trainer.save_model(out)
