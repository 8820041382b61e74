"""The tape: all tokens of a run in one buffer, allocated once and never grown."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["Tape"]


class Tape:
    """Prompt and new tokens of R rows: int64 [R, T + N], with `pad` wherever nothing was written.

    ::

        | pad  prompt ... | new  new  ...  pad  pad |
        0                 T            end          T + N
    """

    def __init__(self, prompt: Tensor, new: int, pad: int) -> None:
        rows, self.start = prompt.shape
        self.end = self.start
        self.pad = pad
        self.tokens = torch.full(
            (rows, self.start + new), pad, dtype=torch.int64, device=prompt.device
        )
        self.tokens[:, : self.start] = prompt

    def write(self, token: Tensor, rows: Tensor | None) -> Tensor:
        """Append `token` [r] to the rows numbered `rows` (None: all); returns the column [R], a view."""
        column = self.tokens[:, self.end]
        if rows is None:
            column.copy_(token)
        else:
            column.index_copy_(0, rows, token)
        self.end += 1
        return column

    def text(self, rows: Tensor | None, first: int = 0) -> Tensor:
        """Columns `first` to the end of some rows, contiguous: int64 [r, end - first]."""
        window = self.tokens[:, first : self.end]
        return window.contiguous() if rows is None else window.index_select(0, rows)
