"""Seeds and positions for the rows of a batch, as `onedraw.generate` has them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ..params import PerRow
from ..randomness import checked_seed, seed_from, seeds, take_seeds

__all__ = ["Keys", "check_seed", "keys", "positions"]


class Keys:
    """The seed and the stream of each row, int64 [R]."""

    def __init__(self, seed: Tensor, stream: Tensor) -> None:
        self.seed, self.stream = seed, stream


def check_seed(seed: Any, generator: torch.Generator | None) -> None:
    """Refuse what is no seed: None, a number, or one a row."""
    if seed is not None:
        checked_seed(seed, generator)


def keys(seed: Any, generator: torch.Generator | None, rows: int, samples: int = 1) -> Keys:
    """Give each of `rows` rows its noise; `samples` adjacent rows are samples of one prompt.

    One seed, or none (then it is taken from `generator`), gives prompt b
    ``onedraw.seeds(seed, range(prompts))[b]``, and its sample j the stream j. Seeds one a prompt are
    these; seeds one a row go with the stream 0.
    """
    if samples < 1 or rows % samples:
        samples = 1
    prompts = rows // samples
    stream = torch.arange(samples, device="cpu").repeat(prompts)
    checked: PerRow = seed_from(generator) if seed is None else checked_seed(seed, generator)
    if not isinstance(checked, Tensor):
        return Keys(seeds(int(checked), range(prompts)).repeat_interleave(samples), stream)
    if checked.shape[0] not in (prompts, rows):
        wanted = f"{rows}" if prompts == rows else f"{rows} (or one a prompt, {prompts})"
        raise ValueError(f"seed must have one value a row, {wanted}, got {checked.shape[0]}")
    checked = checked.clone()
    take_seeds(checked, seed, generator)
    if checked.shape[0] == rows:
        return Keys(checked, torch.zeros(rows, dtype=torch.int64, device="cpu"))
    return Keys(checked.repeat_interleave(samples), stream)


def positions(mask: Tensor) -> PerRow:
    """The true lengths of the prompts of a mask [R, T], where 0 is padding: [R], or a number.

    On a device they stay there, unread.
    """
    lengths = (mask != 0).sum(-1)
    if not lengths.is_cpu or not lengths.numel():
        return lengths
    first = int(lengths[0])  # a number is counted faster than a tensor
    return first if bool((lengths == first).all()) else lengths
