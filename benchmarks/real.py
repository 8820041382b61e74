"""Logits of the default model, SmolLM2-135M-Instruct, on a short text."""

from typing import Any

import torch
from torch import Tensor

TEXT = (
    "The man walked the cat down to the harbour, where the boats were waiting for the tide. It was a "
    "cold morning in early spring, and nobody had slept well. In mathematics, a prime number is a "
    "natural number greater than one that is not a product of two smaller natural numbers.\n"
    "def read(path):\n    with open(path) as file:\n        return file.read()\n"
)


def load() -> tuple[Any, Any]:
    """The model and its tokenizer; raises `onedraw.models.ModelError` where there is none."""
    from onedraw import models

    return models.load()


def real_rows(count: int = 12) -> Tensor:
    """float32 [count, V]: the logits at every fourth place of the text."""
    model, tokenizer = load()
    ids = tokenizer(TEXT, return_tensors="pt").input_ids
    with torch.inference_mode():
        logits: Tensor = model(ids).logits[0].float()
    return logits[3::4][:count].clone()
