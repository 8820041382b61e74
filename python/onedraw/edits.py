"""What a call does to the logits before the filters: `allowed` and `logit_bias`.

Both are given for all rows or one a row; for logits [B, T, V] that is one a step, [B, T, ...], or
one a request, [B, ...]. Here they are checked and given to the binding, which reads tensors in place
if their last dimension is contiguous and their rows are equally far apart. Copied, in each call, are
those that are not, a dense bias that is not float32, and what is one a request where B and T are
both above 1, to [B * T, ...].
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from . import _core, devices
from .arrays import check_memory, plain
from .errors import shown
from .params import Rule, number

__all__ = ["PlacedBias", "placed_bias", "placed_mask", "set_bias", "set_edits"]

# A bias as the binding takes it: dense, or offsets, ids and values.
PlacedBias = Tensor | tuple[Tensor, Tensor, Tensor] | None

INF = math.inf
TOKEN = Rule("logit_bias", "keyed by token ids", False, off=0, low=0, high=2**63 - 1)
BIAS_DTYPES = {torch.float32, torch.float64, torch.float16, torch.bfloat16}


def set_edits(
    job: _core.Job, x: Tensor, allowed: Any, logit_bias: Any, fallback: str | None = None
) -> None:
    """Give `job` both edits for the logits `x`; None takes away what it had."""
    job.allow(placed_mask(x, allowed, fallback))
    set_bias(job, placed_bias(x, logit_bias, fallback))


def set_bias(job: _core.Job, bias: PlacedBias) -> None:
    """Give `job` a bias in the place of the one that it had."""
    if isinstance(bias, tuple):
        job.bias(None)
        job.bias_sparse(*bias)
    else:
        job.bias(bias)
        job.bias_sparse(None, None, None)


def _tensor(value: Any, name: str) -> Tensor:
    if type(value) is not Tensor:
        value = plain(value, name)
    check_memory(value, name)
    result: Tensor = value.resolve_neg()
    return result


def _rows(value: Tensor, x: Tensor, name: str, columns: str) -> Tensor:
    """`value` [C], or one a row of `x`, as [C] or [rows, C] with a last stride of 1."""
    shape, wanted = value.shape[:-1], x.shape[:-1]
    if len(shape) == 1 and len(wanted) == 2 and shape[0] == wanted[0]:
        # A request's, for all its steps: of one request as it is, of several T times over.
        value = value[0] if shape[0] == 1 else value.unsqueeze(1).expand(*wanted, value.shape[-1])
    elif len(shape) != 0 and shape != wanted and not (shape == (1,) and len(wanted) == 0):
        raise ValueError(
            f"{name} must be {columns}, or one of these a row of the logits {list(x.shape)}, "
            f"got {shown(value)}"
        )
    if value.dim() > 2:
        value = value.reshape(-1, value.shape[-1])
    return value if value.stride(-1) == 1 or value.shape[-1] == 1 else value.contiguous()


def placed_mask(x: Tensor, allowed: Any, fallback: str | None = None) -> Tensor | None:
    """The tokens that may be drawn: bool [..., V], or bits in int32 [..., ceil(V/32)], for logits `x`."""
    if allowed is None:
        return None
    mask = devices.beside(_tensor(allowed, "allowed"), x, "allowed", fallback)
    vocab = x.shape[-1]
    words = (vocab + 31) // 32
    if mask.dim() == 0 or mask.dtype not in (torch.bool, torch.int32):
        raise TypeError(
            f"allowed must be bool [..., {vocab}] or an int32 bitmask [..., {words}], "
            f"got {shown(mask)}"
        )
    width = mask.shape[-1]
    if mask.dtype is torch.bool and width != vocab:
        raise ValueError(
            f"allowed must be as wide as the logits, {vocab} tokens, got {width}: {shown(mask)}"
        )
    if mask.dtype is torch.int32 and width < words:
        raise ValueError(
            f"allowed must have a bit for each of the {vocab} tokens of the logits, {words} words, "
            f"got a bitmask for {32 * width} tokens, {width} words"
        )
    columns = f"[{vocab}]" if mask.dtype is torch.bool else f"[{words}]"
    return _rows(mask, x, "allowed", columns)


def placed_bias(x: Tensor, logit_bias: Any, fallback: str | None = None) -> PlacedBias:
    """What is added to the logits `x`: {id: value}, a list with one a request, or a tensor."""
    if logit_bias is None:
        return None
    vocab = x.shape[-1]
    if isinstance(logit_bias, Mapping):
        return _sparse([logit_bias], [""], x)
    if isinstance(logit_bias, (list, tuple)):
        requests = x.shape[0] if x.dim() > 1 else 1
        if len(logit_bias) != requests:
            raise ValueError(
                f"logit_bias must have one mapping a row, {requests}, got {len(logit_bias)}"
            )
        if not requests:
            return None
        return _sparse(logit_bias, [f"[{b}]" for b in range(requests)], x)
    if not isinstance(logit_bias, (Tensor, np.ndarray)) and not hasattr(logit_bias, "__dlpack__"):
        raise TypeError(
            "logit_bias must be a mapping of token id to value, a list of these with one a row, "
            f"or a tensor [..., {vocab}], got {shown(logit_bias)}"
        )
    dense = _tensor(logit_bias, "logit_bias")
    if dense.dtype not in BIAS_DTYPES:
        raise TypeError(f"logit_bias must be a tensor of a real dtype, got {shown(dense)}")
    if dense.dim() == 0 or dense.shape[-1] != vocab:
        raise ValueError(
            f"logit_bias must be as wide as the logits, {vocab} tokens, got {shown(dense)}"
        )
    if dense.dtype is torch.float64 and devices.on_cuda(dense):
        raise TypeError(
            "logit_bias must be float32 or narrower on a device, where float64 cannot be checked "
            f"without waiting for it, got {shown(dense)}"
        )
    rounded = dense.detach().to(torch.float32)
    if dense.dtype == torch.float64 and bool((rounded.isinf() & dense.isfinite()).any()):
        raise ValueError(
            "logit_bias must hold numbers that float32 holds, or infinities, got a finite one beyond it"
        )
    rounded = devices.beside(rounded, x, "logit_bias", fallback)
    return _rows(rounded, x, "logit_bias", f"[{vocab}]")


def _sparse(rows: Any, labels: list[str], x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Mappings as offsets [R + 1], ids [N] ascending in each row, and values [N], beside `x`."""
    offsets, ids, values = [0], [], []
    vocab = x.shape[-1]
    for row, label in zip(rows, labels, strict=True):
        if row is not None and not isinstance(row, Mapping):
            raise TypeError(
                f"logit_bias{label} must be a mapping of token id to value, or None, "
                f"got {shown(row)}"
            )
        for token, value in sorted(_entries(row or {}, label, vocab)):
            ids.append(token)
            values.append(value)
        offsets.append(len(ids))
    return (
        devices.stage(torch.tensor(offsets, dtype=torch.int64, device="cpu"), x.device),
        devices.stage(torch.tensor(ids, dtype=torch.int64, device="cpu"), x.device),
        devices.stage(torch.tensor(values, dtype=torch.float32, device="cpu"), x.device),
    )


VALUE = Rule(
    "logit_bias", "a number that float32 holds, or infinite", True, off=0.0, low=-INF, high=INF
)


def _entries(row: Mapping[Any, Any], label: str, vocab: int) -> list[tuple[int, float]]:
    entries: dict[int, float] = {}
    for key, given in row.items():
        token = int(number(TOKEN, key, label))
        if token >= vocab:
            raise ValueError(
                f"logit_bias{label} must have token ids in [0, {vocab - 1}], got {shown(key)}"
            )
        value = number(VALUE, given, f"{label}[{token}]")
        if math.isinf(value) and not math.isinf(given):
            raise ValueError(
                f"logit_bias{label}[{token}] must be {VALUE.allowed}, got {shown(given)}"
            )
        entries[token] = value
    return list(entries.items())
