"""What the host comes to know of a run on a device: late, and without waiting."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["Look"]


class Look:
    """Tensors on their way from a device to the host, behind the work that the device has to do."""

    def __init__(self, *tensors: Tensor) -> None:
        self.event: torch.cuda.Event | None = None
        if tensors[0].is_cuda:
            self.tensors = tuple(_on_the_way(tensor) for tensor in tensors)
            self.event = torch.cuda.current_stream(tensors[0].device).record_event()
        else:
            self.tensors = tuple(tensor.to("cpu", copy=True) for tensor in tensors)

    def ready(self) -> bool:
        """Whether the tensors have come."""
        return self.event is None or bool(self.event.query())  # type: ignore[no-untyped-call]

    def read(self) -> tuple[Tensor, ...]:
        """Give the tensors, on the host; waits for those that have not come."""
        if self.event is not None:
            self.event.synchronize()
        return self.tensors


def _on_the_way(tensor: Tensor) -> Tensor:
    host = torch.empty(tensor.shape, dtype=tensor.dtype, device="cpu", pin_memory=True)
    return host.copy_(tensor, non_blocking=True)
