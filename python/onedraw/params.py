"""What the user typed: the numbers a draw is made with, checked against one table of rules.

Every error names the parameter, what is allowed and what was given. Nothing is clamped.
"""

from __future__ import annotations

import math
import numbers
import operator
from ctypes import c_float
from dataclasses import dataclass, fields
from functools import lru_cache
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor

from . import devices
from .arrays import check_memory, plain
from .errors import shown

__all__ = [
    "BAD_TOKEN",
    "FIELDS",
    "MIN_P",
    "POSITION",
    "SEED",
    "STREAM",
    "TEMPERATURE",
    "TOP_K",
    "TOP_P",
    "PerRow",
    "Rule",
    "SamplingParams",
    "merge",
    "number",
    "per_row",
    "ties_keep",
]

Number: TypeAlias = int | float
# What the binding takes: a number for all rows, or a tensor [B] (float32, or int64) with one a row.
PerRow: TypeAlias = Number | Tensor


@dataclass(frozen=True, slots=True)
class Rule:
    """What one parameter may be. Real ones are rounded to float32, and then checked."""

    name: str
    allowed: str
    real: bool
    off: Number
    low: Number
    high: Number
    zero: bool = False  # 0 is allowed besides [low, high]


SMALLEST = 2.0**-149  # the least positive float32
SUBNORMAL = 2.0**-126  # what is below it can be flushed to zero (torch.set_flush_denormal)


# A cast obeys the process's rounding mode, in which the same number would be another parameter;
# these steps are exact in all of them. A run has few numbers, so that most calls find theirs here.
@lru_cache(maxsize=1024)
def float32(x: float) -> float:
    """The float32 nearest to `x`, ties to even, subnormals kept; infinite beyond the largest."""
    if not math.isfinite(x):
        return x
    _, exponent = math.frexp(x)  # |x| < 2^exponent
    unit = max(exponent - 24, -149)  # the place of the last of 24 bits
    if unit > 104:
        return math.copysign(math.inf, x)
    rounded = math.ldexp(round(math.ldexp(x, -unit)), unit)
    return rounded if abs(rounded) < 2.0**128 else math.copysign(math.inf, x)


TEMPERATURE = Rule(
    "temperature",
    "0 (greedy) or in [1e-6, 1e6]",
    real=True,
    off=1.0,
    low=float32(1e-6),
    high=1e6,
    zero=True,
)
TOP_K = Rule("top_k", "an integer >= -1 (0 and -1 are off)", False, off=0, low=-1, high=2**63 - 1)
TOP_P = Rule("top_p", "in (0, 1]", real=True, off=1.0, low=SMALLEST, high=1.0)
MIN_P = Rule("min_p", "in [0, 1]", real=True, off=0.0, low=SMALLEST, high=1.0, zero=True)
SEED = Rule("seed", "an integer in [-2^63, 2^64 - 1]", False, off=0, low=-(2**63), high=2**64 - 1)
STREAM = Rule("stream", "an integer in [0, 2^32 - 1]", False, off=0, low=0, high=2**32 - 1)
POSITION = Rule("position", "an integer in [0, 2^32 - 1]", False, off=0, low=0, high=2**32 - 1)
BAD_TOKEN = Rule("bad_token", "a token id >= 0", False, off=0, low=0, high=2**22 - 1)

TIES = {None: False, "first": False, "keep": True}
INTEGER_DTYPES = {torch.int8, torch.int16, torch.int32, torch.int64}
INTEGER_DTYPES |= {torch.uint8, torch.uint16, torch.uint32, torch.uint64}
REAL_DTYPES = {torch.float32, torch.float64, torch.float16, torch.bfloat16} | INTEGER_DTYPES


def _refuse(rule: Rule, value: object, at: str, error: type[Exception]) -> Exception:
    small = rule.low == SMALLEST and isinstance(value, float) and 0 < value < SMALLEST
    why = ", too small for float32 (2^-149 is the least above 0)" if small else ""
    return error(f"{rule.name}{at} must be {rule.allowed}, got {shown(value)}{why}")


def _item(rule: Rule, value: object, at: str) -> object:
    """`value`, and of a tensor or array without dimensions the number that it holds."""
    if not isinstance(value, (Tensor, np.ndarray)):
        return value
    tensor = _readable(rule, plain(value, rule.name + at), at)
    if tensor.dim() != 0:
        raise _refuse(rule, value, at, TypeError)
    if devices.on_cuda(tensor):
        raise TypeError(
            f"{rule.name}{at} must be a number here, got a tensor on {tensor.device}, which would "
            "be read by waiting for it"
        )
    return tensor.item()


def number(rule: Rule, value: object, at: str = "") -> Number:
    """One number under `rule`: a float that float32 holds, or an int. `at` is the row, as "[3]"."""
    if rule.real:
        return _real(rule, value, at)
    if type(value) is not int:
        value = _item(rule, value, at)
        if isinstance(value, (bool, np.bool_)) or not hasattr(type(value), "__index__"):
            raise _refuse(rule, value, at, TypeError)
        value = operator.index(value)  # type: ignore[arg-type]
    if not rule.low <= value <= rule.high:
        raise _refuse(rule, value, at, ValueError)
    return value


def _real(rule: Rule, value: object, at: str) -> float:
    if type(value) is not float:
        value = _item(rule, value, at)
        if isinstance(value, bool) or not isinstance(value, numbers.Real):
            raise _refuse(rule, value, at, TypeError)
        try:
            value = float(value)
        except OverflowError:
            raise _refuse(rule, value, at, ValueError) from None
    rounded = float32(value)
    if -SUBNORMAL < rounded < SUBNORMAL and rounded and c_float(rounded).value == 0:
        raise ValueError(
            f"{rule.name}{at} must be 0 or at least 2^-126 while this thread flushes smaller "
            f"float32 to zero (torch.set_flush_denormal), got {shown(value)}"
        )
    # A number so small that float32 makes it 0 is not 0.
    if rule.low <= rounded <= rule.high or (rule.zero and value == 0):
        return rounded
    raise _refuse(rule, value, at, ValueError)


def signed(seed: int) -> int:
    """A seed's 64 bits as the int64 that a tensor of seeds holds."""
    return seed - 2**64 if seed >= 2**63 else seed


def per_row(rule: Rule, value: object) -> PerRow:
    """A number for all rows, or a list, tuple, tensor or array with one a row, checked.

    Returns the number, or a contiguous tensor [B] (float32, or int64), which may share the memory
    of `value`. A `None` in a list is off for that row. A tensor on a device, [B] or without
    dimensions, stays there and its values are not looked at: the kernel gives a row with one out of
    range the status 3.
    """
    if type(value) is float or type(value) is int:
        return number(rule, value)
    if isinstance(value, (Tensor, np.ndarray)):
        return _tensor(rule, plain(value, rule.name))
    if isinstance(value, (list, tuple, range)):
        values = [
            rule.off if v is None else number(rule, v, f"[{row}]") for row, v in enumerate(value)
        ]
        if rule is SEED:
            values = [signed(int(v)) for v in values]
        return torch.tensor(values, dtype=torch.float32 if rule.real else torch.int64, device="cpu")
    return number(rule, value)


def _readable(rule: Rule, value: Tensor, at: str = "") -> Tensor:
    """`value`, which has memory, and a dtype that `rule` may have."""
    name = rule.name + at
    if not value.is_cpu and not devices.on_cuda(value):
        raise ValueError(
            f"{name} must be on the device of the logits, or the cpu, got a tensor on {value.device}"
        )
    check_memory(value, name)
    if value.dtype not in (REAL_DTYPES if rule.real else INTEGER_DTYPES):
        kind = "a real dtype of 16 to 64 bits or an" if rule.real else "an"
        raise TypeError(
            f"{name} must be a tensor of {kind} integer dtype of 8 to 64 bits "
            f"({rule.allowed}), got {shown(value)}"
        )
    return value


def _tensor(rule: Rule, value: Tensor) -> PerRow:
    _readable(rule, value)
    there = devices.on_cuda(value)
    if value.dim() == 0 and not there:
        return number(rule, value.item())
    if value.dim() > 1:
        raise ValueError(f"{rule.name} must be a number or one a row ([B]), got {shown(value)}")
    if there and rule.real and value.dtype is torch.float64:
        raise TypeError(
            f"{rule.name} must be float32 or narrower on a device, where float64 cannot be checked "
            f"without waiting for it, got {shown(value)}"
        )
    value = value.detach().resolve_neg()
    result = value.to(torch.float32 if rule.real else torch.int64).contiguous()
    if there or rule is SEED or result.numel() == 0:  # a seed is its 64 bits
        return result
    # As int64 an unsigned number of 2^63 or more is negative.
    low = max(rule.low, 0) if value.dtype is torch.uint64 else rule.low
    least, most = torch.aminmax(result)
    if not (low <= least.item() and most.item() <= rule.high):  # not so of a NaN
        fine = (result >= low) & (result <= rule.high)
        if rule.zero:
            fine |= value == 0
        if not bool(fine.all()):
            row = int(fine.to(torch.int8).argmin())
            raise _refuse(rule, value[row].item(), f"[{row}]", ValueError)
    return result


def ties_keep(ties: object) -> bool:
    """Whether tokens equal to the last kept one are kept too: `ties` is "first", "keep" or None."""
    try:
        return TIES[ties]  # type: ignore[index]
    except (KeyError, TypeError):
        raise ValueError(f"ties must be 'first' or 'keep', got {shown(ties)}") from None


@dataclass(frozen=True)
class SamplingParams:
    """The numbers of a request's draws: frozen, hashable, and checked when it is made.

    Parameters
    ----------
    temperature : float, optional
        0 is greedy; else in [1e-6, 1e6]. None is 1.
    top_k : int, optional
        Keep the `top_k` likeliest tokens. 0, -1 and None are off.
    top_p : float, optional
        Keep the shortest prefix of probability at least `top_p`, in (0, 1]. 1 and None are off.
    min_p : float, optional
        Keep the tokens at least `min_p` times as likely as the likeliest, in [0, 1]. 0 and None
        are off.
    ties : {"first", "keep"}, optional
        At the cut of top-k and top-p: keep exactly the first (None, "first"), or all that are
        equal. One for all rows of a call.
    seed : int, optional
        In [-2^63, 2^64 - 1].
    stream : int, optional
        In [0, 2^32 - 1]: sample j of one request draws from stream j.

    Raises
    ------
    ValueError, TypeError
        Names the parameter, what is allowed, and what was given.

    Notes
    -----
    The meanings are those of Hugging Face and vLLM, except for ties. What a request needs besides
    the draw (how many tokens, where to stop) is not here.

    Examples
    --------
    >>> import onedraw, torch
    >>> creative = onedraw.SamplingParams(temperature=1.2, min_p=0.05)
    >>> logits = torch.zeros(2, 10)
    >>> onedraw.kept_mask(logits, params=[creative, onedraw.SamplingParams(top_k=3)]).sum(-1)
    tensor([10,  3])
    """

    temperature: float | None = None
    top_k: int | None = None
    top_p: float | None = None
    min_p: float | None = None
    ties: str | None = None
    seed: int | None = None
    stream: int | None = None

    def __post_init__(self) -> None:
        """Check every field that is given; keep it as a plain number."""
        for rule in (TEMPERATURE, TOP_K, TOP_P, MIN_P, SEED, STREAM):
            value = getattr(self, rule.name)
            if value is not None:
                number(rule, value)
                if type(value) not in (int, float):  # a scalar of NumPy or a tensor, say
                    held: Any = value.item() if isinstance(value, Tensor) else value
                    plain_value = float(held) if rule.real else operator.index(held)
                    object.__setattr__(self, rule.name, plain_value)
        ties_keep(self.ties)


FIELDS = tuple(field.name for field in fields(SamplingParams))


def merge(params: object, *given: Any) -> tuple[Any, ...]:
    """What a call is made with: the keywords `given` (in FIELDS' order), and `params` for the rest.

    From a list of SamplingParams each value is a list with one a row, or None.
    """
    if isinstance(params, SamplingParams):
        pairs = zip(FIELDS, given, strict=True)
        return tuple(getattr(params, name) if v is None else v for name, v in pairs)
    if not isinstance(params, (list, tuple)):
        raise TypeError(
            f"params must be a SamplingParams or a list with one a row, got {shown(params)}"
        )
    for row, entry in enumerate(params):
        if not isinstance(entry, SamplingParams):
            raise TypeError(f"params[{row}] must be a SamplingParams, got {shown(entry)}")
    merged = []
    for name, value in zip(FIELDS, given, strict=True):
        column = [getattr(entry, name) for entry in params]
        if value is None and any(v is not None for v in column):
            merged.append(_one_ties(column) if name == "ties" else column)
        else:
            merged.append(value)
    return tuple(merged)


def _one_ties(column: list[str | None]) -> str:
    """The `ties` of a call, of which there is one: every row's, None being "first"."""
    kept = {v or "first" for v in column}
    if len(kept) > 1:
        raise ValueError("ties must be the same for every row of params, got 'first' and 'keep'")
    return kept.pop()
