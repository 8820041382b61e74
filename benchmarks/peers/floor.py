"""The floor: one streaming read of the logits, a maximum over each row.

A read costs what its bytes cost: 16-bit logits are read as half as many float32 values.
"""

import torch
from torch import Tensor

from benchmarks.filters import Filters
from benchmarks.peers.base import Draw

try:
    from onedraw._core import floor as core_floor
except ImportError:
    core_floor = None

KIND = "torch.amax" if core_floor is None else "onedraw._core.floor"


def prepare(filters: Filters, threads: int, logits: Tensor) -> Draw:
    """`threads` is the core's argument; torch reads with the number that is set."""

    def read(logits: Tensor) -> None:
        if core_floor is None:
            torch.amax(logits, dim=-1)
        elif logits.dtype == torch.float32:
            core_floor(logits, threads)
        else:
            core_floor(logits.view(torch.float32), threads)

    return read
