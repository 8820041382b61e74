"""Any array of a user as a tensor that the core can read in place, or one sentence why not."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import Parameter
from torch.utils.dlpack import from_dlpack

from . import devices
from .errors import shown

__all__ = [
    "MAX_VOCAB",
    "check_fallback",
    "check_memory",
    "device_of",
    "kind_of",
    "logits_of",
    "on_cpu",
    "own",
    "plain",
]

MAX_VOCAB = 2**22  # R1.1
FLOATS = frozenset({torch.float32, torch.float16, torch.bfloat16})


def logits_of(x: Any, fallback: str | None = None, name: str = "logits") -> Tensor:
    """`x` as a tensor [V], [B, V] or [B, T, V], on a device with a kernel, whose last stride is 1.

    A copy is made only of logits whose last dimension is not contiguous, and by ``fallback="cpu"``.
    """
    if type(x) is not Tensor:
        x = plain(x, name)
    if fallback is not None:
        check_fallback(fallback)
        x = on_cpu(x, name)
    elif not x.is_cpu:
        devices.check_kernel(x, name)
    if x.dtype not in FLOATS:
        raise TypeError(f"{name} must be float32, float16 or bfloat16, got {shown(x)}")
    check_memory(x, name)
    if x.is_neg():
        raise ValueError(f"{name} must not be a lazily negated view: give {name}.resolve_neg()")
    stride = x.stride()
    if not 1 <= len(stride) <= 3:
        raise ValueError(f"{name} must be [V], [B, V] or [B, T, V], got {shown(x)}")
    vocab = x.shape[-1]
    if not 1 <= vocab <= MAX_VOCAB:
        raise ValueError(f"{name} must have 1 to 2^22 tokens in its last dimension, got {shown(x)}")
    if stride[-1] != 1 and vocab > 1:
        x = x.contiguous()
    result: Tensor = x
    return result


def plain(x: Any, name: str) -> Tensor:
    """`x`, a tensor subclass or an array with `__dlpack__`, as a plain tensor on its memory."""
    kind = type(x)
    if isinstance(x, Tensor):
        if kind is Tensor or kind is Parameter:
            return x
        if kind.__torch_dispatch__ is not Tensor.__torch_dispatch__:  # its memory is not its own
            raise TypeError(
                f"{name} must be a plain tensor with values, got a {kind.__name__} (a DTensor has "
                "full_tensor() and to_local())"
            )
        return x.as_subclass(Tensor)
    if isinstance(x, np.ndarray) and (not x.flags.aligned or any(s < 0 for s in x.strides)):
        x = x.copy()  # torch cannot hold negative strides
    if not hasattr(kind, "__dlpack__"):
        hint = f" (give its .{name})" if hasattr(x, name) else ""
        raise TypeError(
            f"{name} must be a tensor, or an array with __dlpack__, got {shown(x)}{hint}"
        )
    try:
        if x.__dlpack_device__()[0] not in (1, 2):  # kDLCPU, kDLCUDA
            raise ValueError(f"{name} must be on the cpu or on CUDA, got an array elsewhere")
        return from_dlpack(x)
    except (AssertionError, AttributeError, BufferError, RuntimeError, TypeError) as error:
        raise TypeError(
            f"{name} must be an array that torch can read, got {shown(x)}: {error}"
        ) from None


def check_memory(x: Tensor, name: str) -> None:
    """Refuse what has no strided memory: sparse tensors, and what stands for one in torch.vmap."""
    if x.layout is not torch.strided or x.is_nested:
        raise TypeError(f"{name} must be a dense tensor, got one that is {kind_of(x)}")
    try:
        x.data_ptr()
    except RuntimeError:
        raise TypeError(
            f"{name} must be a tensor with memory of its own, not one inside torch.vmap or "
            "torch.func (give the whole batch: rows are drawn independently)"
        ) from None


def kind_of(x: Tensor) -> str:
    """What a tensor that is not dense is."""
    return "nested" if x.is_nested else str(x.layout).removeprefix("torch.")


def check_fallback(fallback: object) -> None:
    """Refuse what is neither None nor "cpu"."""
    if fallback is not None and fallback != "cpu":
        raise ValueError(f"fallback must be None or 'cpu', got {shown(fallback)}")


def on_cpu(x: Tensor, name: str) -> Tensor:
    """`x`, or its copy on the CPU: what ``fallback="cpu"`` asks for."""
    if x.device.type == "meta":
        raise ValueError(f"{name} must have values, got a meta tensor")
    return x.detach().cpu()


def device_of(x: object) -> torch.device:
    """Where a result belongs: the device of the logits, the CPU for an array of another library."""
    return x.device if isinstance(x, Tensor) else torch.device("cpu")


def own(value: Any) -> Any:
    """`value`, and of a tensor a copy that may be changed in place in any mode."""
    if not isinstance(value, Tensor):
        return value
    with torch.inference_mode(False):
        return value.detach().clone()
