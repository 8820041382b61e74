"""multinomial: draws by given weights, as torch.multinomial has them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from . import _core, ops
from .arrays import device_of, logits_of, plain
from .errors import shown
from .functional import Values
from .params import Rule, number

__all__ = ["multinomial"]

NUM_SAMPLES = Rule("num_samples", "an integer in [1, 2^24]", False, off=1, low=1, high=2**24)


def multinomial(
    probs: Tensor,
    num_samples: int,
    replacement: bool = False,
    *,
    generator: torch.Generator | None = None,
    seed: Values = None,
    stream: Values = None,
    position: Values = None,
    raise_on_bad: bool = True,
    status_out: Tensor | None = None,
    fallback: str | None = None,
    out: Tensor | None = None,
) -> Tensor:
    """Draw token ids by weight: ``[V]`` -> int64 ``[n]``, ``[B, V]`` -> int64 ``[B, n]``.

    `torch.multinomial` with the promises of this package: the ids are the same for every kernel,
    number of threads and batch, given the seed.

    Parameters
    ----------
    probs : Tensor
        Weights >= 0, which need not sum to 1: float32, float16 or bfloat16, [V] or [B, V], V up to
        2^22. float64 is rounded to float32 first: a weight below 2^-150 becomes 0, and one above
        3.4e38 is refused as infinite.
    num_samples : int
        How many to draw of each row, in [1, 2^24]; without replacement at most V.
    replacement : bool
        Whether an id may come twice in a row. Without replacement the ids are in the order of
        their being drawn.
    generator, seed, stream, position, raise_on_bad, status_out, fallback
        As in `sample`: the seed of a call is one number of `generator`, or (seed, stream,
        position).
    out : Tensor, optional
        int64 [..., n], written and returned; an empty tensor is resized, unless the draw is refused.

    Returns
    -------
    Tensor
        int64 [..., n], on the device of `probs`; never requires grad.

    Raises
    ------
    ValueError, TypeError
        Names the parameter, what is allowed and what was given.
    BadRowError
        A ValueError: a weight is NaN, negative or infinite, a row's weights are all 0, or (without
        replacement) fewer than `num_samples` are above 0. Where torch draws ids of weight 0 in
        that last case, this refuses.

    Examples
    --------
    >>> import onedraw, torch
    >>> ids = onedraw.multinomial(torch.tensor([0.0, 3.0, 1.0]), 2)
    >>> ids.sort().values
    tensor([1, 2])
    >>> onedraw.multinomial(torch.tensor([[0.0, 1.0], [1.0, 0.0]]), 3, replacement=True)
    tensor([[1, 1, 1],
            [0, 0, 0]])
    """
    given: Any = probs if isinstance(probs, Tensor) else plain(probs, "probs")
    if given.dim() not in (1, 2):
        raise ValueError(f"probs must be [V] or [B, V], got {shown(given)}")
    if given.dtype is torch.float64:
        given = given.detach().to(torch.float32)
    x = logits_of(given, fallback, "probs")
    samples = int(number(NUM_SAMPLES, num_samples))
    if not isinstance(replacement, bool):
        raise TypeError(f"replacement must be True or False, got {shown(replacement)}")
    if not replacement and samples > x.shape[-1]:
        raise ValueError(
            f"num_samples must be at most V, {x.shape[-1]}, without replacement, got {samples}"
        )
    job = _core.Job()
    job.weights = True
    job.num_samples = samples
    job.replacement = replacement
    shape = (*x.shape[:-1], samples)
    ids = ops.new_or(None if grows(out) else out, "out", shape, torch.int64, x)
    job.output("token", ids)
    status = ops.set_status(job, status_out, x)
    ops.set_key(job, x, False, seed, stream, position, generator)
    ops.run_checked(job, x, status_out, status, raise_on_bad)
    if out is not None:
        return out if ids is out else ops.fill(out, ids)
    return ids if fallback is None else ids.to(device_of(probs))


def grows(out: object) -> bool:
    """Whether `out` is empty and can be resized to what is drawn: last, when nothing is refused."""
    return (
        isinstance(out, Tensor)
        and out.dtype is torch.int64
        and out.numel() == 0
        and out.layout is torch.strided
        and out.untyped_storage().resizable()
    )
