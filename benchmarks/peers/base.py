"""What a peer is."""

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from benchmarks.filters import Filters

Draw = Callable[[Tensor], Tensor | None]
"""[B, V] logits -> int64 [B] tokens; None from the floor, which draws nothing."""


@dataclass(frozen=True)
class Peer:
    """`prepare` makes the draw that is timed; `kept` says which tokens it draws from.

    `prepare` gets the filters, the number of threads and the logits it will first see (for what a
    user would allocate once); `kept` is None, or gives None, where the peer has no filtered set of its own.
    """

    prepare: Callable[[Filters, int, Tensor], Draw]
    kept: Callable[[Filters, Tensor], Tensor | None] | None
    devices: tuple[str, ...] = ("cpu", "cuda")
    module: str | None = None  # that it needs, beside what the benchmarks need anyway
    can: Callable[[Filters], bool] = lambda filters: True

    def missing(self, device: str, filters: Filters) -> str | None:
        """Why it cannot run here, on this device, with these filters; None if it can."""
        if device not in self.devices:
            return f"not for {device}"
        if self.module is not None and importlib.util.find_spec(self.module) is None:
            return f"{self.module} is not installed"
        return None if self.can(filters) else "it has not these filters"
