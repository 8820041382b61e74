"""Tensors to one `_core.Job`: what a call reads and writes, matched with the shape of its logits.

This is the layer at which a registered torch operator would stand beside the direct call:
everything above it is plain Python on shapes, everything below reads memory.
"""

from __future__ import annotations

from collections import deque

import torch
from torch import Tensor

from . import _core
from .arrays import check_memory
from .errors import raise_bad_rows, shown
from .params import (
    BAD_TOKEN,
    MIN_P,
    TEMPERATURE,
    TOP_K,
    TOP_P,
    PerRow,
    Rule,
    number,
    per_row,
    ties_keep,
)
from .randomness import Noise, check_generator, check_range, largest, noise, take_seeds

__all__ = [
    "StatusBuffer",
    "check_bad_token",
    "check_length",
    "check_params",
    "empty",
    "fill",
    "requests_of",
    "run",
    "run_checked",
    "set_filters",
    "set_key",
    "set_noise",
    "steps_of",
    "writable",
]


def requests_of(x: Tensor) -> int:
    """B of logits [V] (1), [B, V] or [B, T, V]."""
    return x.shape[0] if x.dim() > 1 else 1


def steps_of(x: Tensor) -> int:
    """T of logits [B, T, V], else 1."""
    return x.shape[1] if x.dim() > 2 else 1


def check_length(name: str, value: PerRow, requests: int) -> PerRow:
    """`value`, which if it has one a row has as many as there are requests."""
    if isinstance(value, Tensor) and value.shape[0] != requests:
        raise ValueError(f"{name} must have one value a row, {requests}, got {value.shape[0]}")
    return value


def _set(job: _core.Job, rule: Rule, value: object, requests: int) -> PerRow:
    checked = per_row(rule, value)
    if isinstance(checked, Tensor):
        check_length(rule.name, checked, requests)
    job.set(rule.name, checked)
    return checked


def set_filters(
    job: _core.Job,
    requests: int,
    temperature: object,
    top_k: object,
    top_p: object,
    min_p: object,
    ties: object,
) -> bool:
    """Set what is given (None is off); whether every row is greedy, and needs no noise."""
    greedy = False
    if temperature is not None:
        checked = _set(job, TEMPERATURE, temperature, requests)
        greedy = not isinstance(checked, Tensor) and checked == 0
    if top_k is not None:
        _set(job, TOP_K, top_k, requests)
    if top_p is not None:
        _set(job, TOP_P, top_p, requests)
    if min_p is not None:
        _set(job, MIN_P, min_p, requests)
    if ties is not None:
        job.ties_keep = ties_keep(ties)
    return greedy


def check_params(params: object, requests: int) -> None:
    """Refuse a list of SamplingParams that has not one a row."""
    if isinstance(params, (list, tuple)) and len(params) != requests:
        raise ValueError(f"params must have one entry a row, {requests}, got {len(params)}")


def set_noise(job: _core.Job, key: Noise, requests: int, steps: int) -> None:
    """Set seed, stream and position; refuse those that a row or step would carry out of range."""
    seed, stream, position, row_stream = key
    for name, value in (("seed", seed), ("stream", stream), ("position", position)):
        if isinstance(value, Tensor):
            check_length(name, value, requests)
        job.set(name, value)
    if row_stream:
        job.row_stream = True
        if requests > 1:
            check_range("stream", largest(stream), requests, "row")
    if steps > 1:
        check_range("position", largest(position), steps, "step")


def set_key(
    job: _core.Job,
    x: Tensor,
    greedy: bool,
    seed: object,
    stream: object,
    position: object,
    generator: torch.Generator | None,
) -> None:
    """Set the noise of a stateless call; a greedy one without a key takes no seed.

    It is the last step before the run, since a refused call must not take a seed either.
    """
    if greedy and seed is None and stream is None and position is None:
        if generator is not None:
            check_generator(generator)
        return
    key = noise(seed, stream, position, generator)
    set_noise(job, key, requests_of(x), steps_of(x))
    take_seeds(key.seed, seed, generator)


def check_bad_token(bad_token: object, vocab: int) -> int:
    """The token of a bad row, which is an id of the vocabulary."""
    token = int(number(BAD_TOKEN, bad_token))
    if token >= vocab:
        raise ValueError(f"bad_token must be a token id in [0, {vocab - 1}], got {token}")
    return token


def writable(out: object, name: str, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    """`out`, which has this shape and dtype; or where the core cannot write, one where it can."""
    if not isinstance(out, Tensor):
        raise TypeError(f"{name} must be a tensor, got {shown(out)}")
    if out.dtype is not dtype or tuple(out.shape) != tuple(shape):
        wanted = f"{dtype} and shape {list(shape)}"
        raise ValueError(f"{name} must be a tensor of {wanted}, got {shown(out)}")
    check_memory(out, name)
    if out.is_cpu and out.is_contiguous() and not out.is_neg() and type(out) is Tensor:
        return out
    if overlaps(out):
        raise ValueError(
            f"{name} must have memory of its own for every element, got {shown(out)} of strides "
            f"{list(out.stride())}"
        )
    return empty(shape, dtype)


def overlaps(x: Tensor) -> bool:
    """Whether some elements may share memory: a dimension that steps by no more than others span."""
    span = 0
    for stride, size in sorted(zip(x.stride(), x.shape, strict=True)):
        if size > 1:
            if stride <= span:
                return True
            span += (size - 1) * stride
    return False


def fill(out: Tensor, made: Tensor) -> Tensor:
    """`out`, a tensor of the user, with what a run made; an empty one is resized to it."""
    with torch.inference_mode():  # in which a tensor made in it and any other may be written
        if out.shape != made.shape:
            out.resize_(made.shape)
        return out.copy_(made)


# Made once, so that an output's dtype and device need not be looked up.
_MODELS = {
    dtype: torch.empty(0, dtype=dtype, device="cpu")
    for dtype in (torch.int64, torch.int32, torch.float32, torch.bool)
}


def empty(shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    """A new tensor on the CPU, whatever torch's default device is."""
    return _MODELS[dtype].new_empty(shape)


class StatusBuffer:
    """The statuses of some rows: a tensor for the kernel, and bytes, which compare in no time."""

    __slots__ = ("data", "fine", "rows", "tensor")

    def __init__(self, rows: int) -> None:
        self.rows = rows
        self.data = bytearray(4 * rows)
        self.fine = bytes(4 * rows)
        self.tensor = (
            torch.frombuffer(self.data, dtype=torch.int32) if rows else empty((0,), torch.int32)
        )

    def bad(self) -> bool:
        """Whether any row is bad."""
        return self.data != self.fine


# Buffers between two calls. A buffer is out of the queue while it is used, so that threads never
# share one.
_spare: deque[StatusBuffer] = deque(maxlen=4)


def borrow_status(rows: int) -> StatusBuffer:
    """A buffer for `rows` rows; give it back by return_status."""
    try:
        buffer = _spare.pop()
    except IndexError:
        return StatusBuffer(rows)
    return buffer if buffer.rows == rows else StatusBuffer(rows)


return_status = _spare.append


def run(job: _core.Job, x: Tensor) -> None:
    """Run `job` on checked logits, on as many threads as torch uses."""
    threads = torch.get_num_threads()
    if job.threads != threads:
        job.threads = threads
    job.run(x)


def run_checked(job: _core.Job, x: Tensor) -> None:
    """Run `job`; raise if a row is bad."""
    rows = x.shape[:-1]
    buffer = borrow_status(rows.numel())
    job.output("status", buffer.tensor)
    run(job, x)
    if buffer.bad():
        raise_bad_rows(buffer.tensor.view(rows))
    return_status(buffer)
