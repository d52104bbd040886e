"""JSONL to Parquet, as a data set lies on the Hub: python to_parquet.py rows.jsonl rows.parquet"""
import sys

from datasets import load_dataset

load_dataset("json", data_files=sys.argv[1], split="train").to_parquet(sys.argv[2])
