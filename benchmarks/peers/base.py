"""What a peer is."""

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
    user would allocate once); `kept` is None where the peer has no filtered set of its own.
    """

    prepare: Callable[[Filters, int, Tensor], Draw]
    kept: Callable[[Filters, Tensor], Tensor] | None
