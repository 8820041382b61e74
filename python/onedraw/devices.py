"""The CUDA side of a call: whether its tensors are there, how they get there, what the kernel works in.

A draw on a device never waits for it: what is there is handed on unread, and what is on the host goes
there through pinned memory (`stage`). Only ``fallback="cpu"``, which copies to the host, waits.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

import torch
from torch import Tensor

from . import _core
from .errors import shown

__all__ = [
    "Turns",
    "beside",
    "capturing",
    "check_kernel",
    "launch",
    "new_workspace",
    "on_cuda",
    "outlive",
    "stage",
    "workspace",
]


def on_cuda(x: Tensor) -> bool:
    """Whether the values of `x` are on a CUDA device: to look at them is to wait for it."""
    return x.is_cuda


def check_kernel(x: Tensor, name: str) -> None:
    """Refuse a tensor on a device that nothing here can draw on, and say why."""
    if x.device.type == "meta":
        raise ValueError(f"{name} must have values, got a meta tensor")
    missing = f"this package has no kernel for {x.device.type!r}"
    if on_cuda(x):
        try:
            _core.cuda_device_count()
            return
        except RuntimeError as error:
            missing = str(error)
    raise ValueError(
        f"{name} must be on the cpu: {missing} (fallback='cpu' copies them there and the tokens "
        f"back), got a tensor on {x.device}"
    )


def beside(value: Tensor, x: Tensor, name: str, fallback: str | None = None) -> Tensor:
    """`value` on the device of the logits `x`: staged there from the CPU, or by `fallback` copied back."""
    if value.device == x.device:
        return value
    if value.device.type == "meta":
        raise ValueError(f"{name} must have values, got a meta tensor")
    if not value.is_cpu and fallback is None:
        where = "cpu" if x.is_cpu else f"{x.device}, or the cpu"
        raise ValueError(
            f"{name} must be on the device of the logits ({where}), got a tensor on {value.device}"
        )
    return stage(value.detach(), x.device)


def stage(value: Tensor, device: torch.device) -> Tensor:
    """`value` on `device`: from the host to CUDA without waiting, and else by a copy that has arrived.

    The copy is queued on the device's current stream and reads a pinned copy made here, so that
    `value` may be written anew once this returns, pinned or not. torch's allocator of pinned memory
    keeps it until such a copy is done. (Of a size not seen before it has to be allocated, once.)
    """
    if value.device == device:
        return value
    if not value.is_cpu or device.type != "cuda" or torch.compiler.is_compiling():
        return value.to(device)
    if capturing():
        raise RuntimeError(
            "tensors, lists and mappings given while a CUDA graph is captured must be on its device: "
            f"a replay would read memory of the host that is no longer theirs, got {shown(value)}"
        )
    with torch.inference_mode(False):
        pinned = torch.empty(value.shape, dtype=value.dtype, device="cpu", pin_memory=True)
        return pinned.copy_(value).to(device, non_blocking=True)


def capturing() -> bool:
    """Whether the current stream is being captured into a CUDA graph."""
    built = torch.backends.cuda.is_built()  # type: ignore[no-untyped-call]
    return bool(built and torch.cuda.is_current_stream_capturing())


@lru_cache(maxsize=256)
def _workspace_bytes(device: int, rows: int, vocab: int) -> int:
    return _core.cuda_workspace_bytes(device, rows, vocab)


def new_workspace(x: Tensor, least: int = 0) -> Tensor:
    """Memory for draws from logits shaped as `x`, uint8, zero, of `least` bytes or more."""
    vocab = x.shape[-1]
    size = _workspace_bytes(x.device.index or 0, x.numel() // vocab, vocab)
    with torch.inference_mode(False):
        return torch.zeros(max(size, least), dtype=torch.uint8, device=x.device)


# One a device and stream: the launches of a stream run one after another, and each leaves it ready
# for the next. What is outgrown goes back to torch's allocator, which gives it to the same stream.
_workspaces: dict[tuple[torch.device, int], Tensor] = {}


def workspace(x: Tensor) -> Tensor:
    """The workspace of the current stream on the device of `x`.

    One made while a graph is captured is the graph's own: it lives in its memory, and is set to
    zero by each replay.
    """
    if capturing():
        return new_workspace(x)
    key = (x.device, _core.cuda_stream(x))
    kept = _workspaces.get(key)
    vocab = x.shape[-1]
    size = _workspace_bytes(x.device.index or 0, x.numel() // vocab, vocab)
    if kept is None or kept.numel() < size:
        kept = _workspaces[key] = new_workspace(x, 0 if kept is None else 2 * kept.numel())
    return kept


class Turns:
    """Lets what is queued on several streams run one after another: the stream of the last call."""

    def __init__(self) -> None:
        self.key: tuple[torch.device, int] | None = None
        self.stream: torch.cuda.Stream | None = None

    def take(self, x: Tensor) -> None:
        """Let the current stream of the device of `x` go on where the last one stopped.

        Not while a graph is captured: its stream has waited for the others before, may not do so now,
        and is not the one that replays run on.
        """
        key = (x.device, _core.cuda_stream(x))
        if key == self.key or capturing():
            return
        stream = current_stream(x)
        if self.stream is not None and stream is not None:
            stream.wait_stream(self.stream)
        self.key, self.stream = key, stream


def current_stream(x: Tensor) -> torch.cuda.Stream | None:
    """The current stream of the device of `x`; None of one in the memory of the host."""
    return torch.cuda.current_stream(x.device) if x.is_cuda else None


def outlive(tensors: Iterable[Tensor], x: Tensor) -> None:
    """Let the memory of `tensors`, once freed, wait for the current stream of the device of `x`."""
    stream = current_stream(x)
    if stream is not None:
        for tensor in tensors:
            tensor.record_stream(stream)


def launch(job: _core.Job, x: Tensor, space: Tensor, advance: bool = False) -> None:
    """Launch `job` on the current stream of the device of `x`; it has not run when this returns."""
    job.run_cuda(x, space, _core.cuda_stream(x), advance)
