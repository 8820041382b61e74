"""llama.cpp's candidates, some tokens in any order, as the row of logits that a kernel reads."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..arrays import MAX_VOCAB
from ..errors import shown

__all__ = ["Candidates"]

# llama_token_data
ENTRY = np.dtype([("id", np.int32), ("logit", np.float32), ("p", np.float32)])


class Candidates:
    """Reads `llama_token_data_array`s, one after the other, into memory of its own.

    A row has the logits by token id, and -inf for tokens that are no candidates: the noise of a
    token depends on its id alone, so that neither their order nor their number changes the draw.
    """

    def __init__(self) -> None:
        self._place = (0, 0)
        self._grow(0)

    def _grow(self, vocab: int) -> None:
        self._all = np.arange(vocab, dtype=np.int32)
        self._row = torch.empty(vocab, dtype=torch.float32, device="cpu")
        self._logits: NDArray[np.float32] = self._row.numpy()

    def _look(self, array: Any) -> None:
        """Have the ids and logits [size] as views of llama.cpp's memory, where they are each time."""
        if not array.size:
            raise ValueError("llama.cpp's samplers before this one left no candidates")
        place = ctypes.addressof(array.data.contents), array.size
        if place != self._place:
            memory = (ctypes.c_char * (place[1] * ENTRY.itemsize)).from_address(place[0])
            entries = np.frombuffer(memory, ENTRY)
            self._place, self.ids, self.logits = place, entries["id"], entries["logit"]

    def read(self, array: Any) -> Tensor:
        """float32 [V]: V is the number of candidates if they are ids 0, 1, 2, ..."""
        self._look(array)
        ids, size = self.ids, array.size
        if size > len(self._all):
            self._grow(size)
        self._in_order = bool((ids == self._all[:size]).all())
        if self._in_order:
            self._logits[:size] = self.logits
            return self._row[:size]
        last = int(ids.max())
        if ids.min() < 0 or last >= MAX_VOCAB:
            raise ValueError(f"llama.cpp's tokens must be in [0, 2^22 - 1], got {shown(ids)}")
        if last >= len(self._all):
            self._grow(last + 1)
        self._logits[: last + 1] = -np.inf
        self._logits[ids] = self.logits
        return self._row[: last + 1]

    def index(self, token: int) -> int:
        """Where `token` stands in the array that was read last."""
        return token if self._in_order else int((self.ids == token).argmax())

    def open(self, array: Any) -> int:
        """Where the first token stands that is not at -inf; else 0."""
        self._look(array)
        return int((self.logits != -np.inf).argmax())
