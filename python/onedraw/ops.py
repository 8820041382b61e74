"""Tensors to one `_core.Job`: what a call reads and writes, matched with the shape of its logits.

Everything above this layer is plain Python on shapes, everything below reads memory.
"""

from __future__ import annotations

from collections import deque

import torch
from torch import Tensor

from . import _core, devices
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
    "check_params",
    "empty",
    "fill",
    "new_or",
    "placed",
    "requests_of",
    "run",
    "run_checked",
    "set_filters",
    "set_key",
    "set_noise",
    "set_status",
    "steps_of",
    "writable",
]


def requests_of(x: Tensor) -> int:
    """B of logits [V] (1), [B, V] or [B, T, V]."""
    return x.shape[0] if x.dim() > 1 else 1


def steps_of(x: Tensor) -> int:
    """T of logits [B, T, V], else 1."""
    return x.shape[1] if x.dim() > 2 else 1


def placed(name: str, value: PerRow, x: Tensor) -> PerRow:
    """`value`, a number or one a request of the logits `x`, where a kernel for them can read it."""
    if not isinstance(value, Tensor):
        return value
    requests = requests_of(x)
    if value.dim() == 0:  # on a device, where it is not read
        value = value.expand(requests).contiguous()
    if value.shape[0] != requests:
        raise ValueError(f"{name} must have one value a row, {requests}, got {value.shape[0]}")
    return devices.beside(value, x, name)


def _set(job: _core.Job, rule: Rule, value: object, x: Tensor) -> PerRow:
    checked = placed(rule.name, per_row(rule, value), x)
    job.set(rule.name, checked)
    return checked


def set_filters(
    job: _core.Job,
    x: Tensor,
    temperature: object,
    top_k: object,
    top_p: object,
    min_p: object,
    ties: object,
) -> bool:
    """Set what is given (None is off); whether every row is greedy, and needs no noise."""
    greedy = False
    if temperature is not None:
        checked = _set(job, TEMPERATURE, temperature, x)
        greedy = not isinstance(checked, Tensor) and checked == 0
    if top_k is not None:
        _set(job, TOP_K, top_k, x)
    if top_p is not None:
        _set(job, TOP_P, top_p, x)
    if min_p is not None:
        _set(job, MIN_P, min_p, x)
    if ties is not None:
        job.ties_keep = ties_keep(ties)
    return greedy


def check_params(params: object, requests: int) -> None:
    """Refuse a list of SamplingParams that has not one a row."""
    if isinstance(params, (list, tuple)) and len(params) != requests:
        raise ValueError(f"params must have one entry a row, {requests}, got {len(params)}")


def set_noise(job: _core.Job, key: Noise, x: Tensor) -> None:
    """Set seed, stream and position; refuse those that a row or step would carry out of range."""
    seed, stream, position, row_stream = key
    requests, steps = requests_of(x), steps_of(x)
    for name, value in (("seed", seed), ("stream", stream), ("position", position)):
        job.set(name, placed(name, value, x))
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
    set_noise(job, key, x)
    take_seeds(key.seed, seed, generator)


def check_bad_token(bad_token: object, vocab: int) -> int:
    """The token of a bad row, which is an id of the vocabulary."""
    token = int(number(BAD_TOKEN, bad_token))
    if token >= vocab:
        raise ValueError(f"bad_token must be a token id in [0, {vocab - 1}], got {token}")
    return token


def writable(
    out: object, name: str, shape: tuple[int, ...], dtype: torch.dtype, x: Tensor
) -> Tensor:
    """`out`, which has this shape and dtype; or where the core cannot write, one where it can."""
    if not isinstance(out, Tensor):
        raise TypeError(f"{name} must be a tensor, got {shown(out)}")
    if out.dtype is not dtype or tuple(out.shape) != tuple(shape):
        wanted = f"{dtype} and shape {list(shape)}"
        raise ValueError(f"{name} must be a tensor of {wanted}, got {shown(out)}")
    check_memory(out, name)
    if devices.on_cuda(x) and out.device != x.device:
        raise ValueError(
            f"{name} must be on the device of the logits ({x.device}), got a tensor on {out.device}"
        )
    near = out.device == x.device
    if near and out.is_contiguous() and not out.is_neg() and type(out) is Tensor:
        return out
    if overlaps(out):
        raise ValueError(
            f"{name} must have memory of its own for every element, got {shown(out)} of strides "
            f"{list(out.stride())}"
        )
    return empty(shape, dtype, x)


def new_or(out: object, name: str, shape: tuple[int, ...], dtype: torch.dtype, x: Tensor) -> Tensor:
    """A new tensor, or what is to be written for `out`."""
    return empty(shape, dtype, x) if out is None else writable(out, name, shape, dtype, x)


def set_status(job: _core.Job, status_out: Tensor | None, x: Tensor) -> Tensor | None:
    """Let `job` write the statuses of the rows of `x`; returns what is written for `status_out`."""
    if status_out is None:
        return None
    status = writable(status_out, "status_out", x.shape[:-1], torch.int32, x)
    job.output("status", status)
    return status


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


def empty(shape: tuple[int, ...], dtype: torch.dtype, x: Tensor) -> Tensor:
    """A new tensor on the device of the logits `x`, whatever torch's default device is."""
    if x.is_cpu:
        return _MODELS[dtype].new_empty(shape)
    return torch.empty(shape, dtype=dtype, device=x.device)


class StatusBuffer:
    """The statuses of some rows: a tensor for the kernel, and bytes, which compare in no time."""

    __slots__ = ("data", "fine", "rows", "tensor")

    def __init__(self, rows: int) -> None:
        self.rows = rows
        self.data = bytearray(4 * rows)
        self.fine = bytes(4 * rows)
        self.tensor = (
            torch.frombuffer(self.data, dtype=torch.int32)
            if rows
            else _MODELS[torch.int32].new_empty(0)
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
    """Run `job` on checked logits: on as many threads as torch uses, or on the device of `x`."""
    if devices.on_cuda(x):
        if x.numel():
            devices.launch(job, x, devices.workspace(x))
        return
    threads = torch.get_num_threads()
    if job.threads != threads:
        job.threads = threads
    job.run(x)


def run_checked(
    job: _core.Job,
    x: Tensor,
    status_out: Tensor | None = None,
    status: Tensor | None = None,
    raise_on_bad: bool = True,
) -> None:
    """Run `job`, and say which rows are bad: in `status_out`, and unless on a device by an error.

    `status`, an output of the job, is what `writable` gave for `status_out`.
    """
    if status is not None and status_out is not None:
        run(job, x)
        if status is not status_out:
            fill(status_out, status)
        if raise_on_bad and not devices.on_cuda(x):
            raise_bad_rows(status)
        return
    if not raise_on_bad or devices.on_cuda(x):
        run(job, x)
        return
    rows = x.shape[:-1]
    buffer = borrow_status(rows.numel())
    job.output("status", buffer.tensor)
    run(job, x)
    if buffer.bad():
        raise_bad_rows(buffer.tensor.view(rows))
    return_status(buffer)
