"""The CUDA side of a call: whether its tensors are there, and what the kernel works in.

Nothing here waits for a device, and nothing above may: what is on a device is handed on unread.
"""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

from . import _core

__all__ = [
    "beside",
    "capturing",
    "check_kernel",
    "launch",
    "new_workspace",
    "on_cuda",
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
    """`value` on the device of the logits `x`: copied there from the CPU, or by `fallback`."""
    if value.device == x.device:
        return value
    if value.device.type == "meta":
        raise ValueError(f"{name} must have values, got a meta tensor")
    if not value.is_cpu and fallback is None:
        where = "cpu" if x.is_cpu else f"{x.device}, or the cpu"
        raise ValueError(
            f"{name} must be on the device of the logits ({where}), got a tensor on {value.device}"
        )
    return value.detach().to(x.device, non_blocking=True)


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


def launch(job: _core.Job, x: Tensor, space: Tensor, advance: bool = False) -> None:
    """Launch `job` on the current stream of the device of `x`; it has not run when this returns."""
    job.run_cuda(x, space, _core.cuda_stream(x), advance)
