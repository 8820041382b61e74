"""What the tests of onedraw.llama_cpp share: candidates as llama.cpp has them, and chains."""

import ctypes
from typing import Any

import llama_cpp
import torch
from torch import Tensor


class Array:
    """llama.cpp's candidates: `ids` in this order, with the logits of a row."""

    def __init__(self, logits: Tensor, ids: Any = None) -> None:
        ids = torch.arange(len(logits)) if ids is None else torch.as_tensor(ids)
        self.data = (llama_cpp.llama_token_data * len(ids))()
        for at, token in enumerate(ids.tolist()):
            self.data[at].id, self.data[at].logit = token, float(logits[token])
        self.array = llama_cpp.llama_token_data_array(
            data=self.data, size=len(ids), selected=-1, sorted=False
        )

    def drawn(self, pointer: Any) -> int:
        """The token that a sampler or a chain selects."""
        llama_cpp.llama_sampler_apply(pointer, ctypes.byref(self.array))
        return self.array.data[self.array.selected].id


def new_chain(*samplers: Any) -> Any:
    made = llama_cpp.llama_sampler_chain_init(llama_cpp.llama_sampler_chain_default_params())
    for each in samplers:
        llama_cpp.llama_sampler_chain_add(made, each)
    return made
