"""The floor: one streaming read of the logits, a maximum over each row.

A read costs what its bytes cost: 16-bit logits are read as half as many float32 values.
"""

import torch
from torch import Tensor

from benchmarks.filters import Filters
from benchmarks.peers.base import Draw
from onedraw import _core


def prepare_cuda(logits: Tensor) -> Draw:
    """On a GPU: torch's largest element of all rows together, which reads at the speed of the memory."""
    largest = torch.empty((), dtype=torch.float32, device=logits.device)

    def read(logits: Tensor) -> None:
        torch.amax(logits.view(torch.float32).view(-1), dim=0, out=largest)

    return read


def prepare(filters: Filters, threads: int, logits: Tensor) -> Draw:
    if logits.is_cuda:
        return prepare_cuda(logits)
    return prepare_cpu(threads)


def prepare_cpu(threads: int) -> Draw:
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
