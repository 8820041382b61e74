"""The floor: one streaming read of the logits, a maximum over each row.

A read costs what its bytes cost: 16-bit logits are read as half as many float32 values.
"""

import torch
from torch import Tensor

from benchmarks.filters import Filters
from benchmarks.peers.base import Draw
from onedraw import _core


def prepare(filters: Filters, threads: int, logits: Tensor) -> Draw:
    """Where a case forces a slower kernel, the floor is still that of the kernel onedraw chooses."""
    forced = _core.kernel()
    _core.set_kernel(None)
    best = _core.kernel()
    _core.set_kernel(forced)

    def read(logits: Tensor) -> None:
        if forced != best:
            _core.set_kernel(best)
        _core.floor(
            logits if logits.dtype == torch.float32 else logits.view(torch.float32), threads
        )
        if forced != best:
            _core.set_kernel(forced)

    return read
