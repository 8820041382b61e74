"""A job for both sides: the CPU's kernel, and the CUDA kernel; what they answer."""

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from onedraw import _core

SHAPES = {  # of an output, with B rows, n samples, V tokens and k alternatives
    "token": ("B n", torch.int64),
    "status": ("B", torch.int32),
    "logprob": ("B", torch.float32),
    "raw_logprob": ("B", torch.float32),
    "rank": ("B", torch.int64),
    "num_kept": ("B", torch.int64),
    "kept_mass": ("B", torch.float32),
    "entropy": ("B", torch.float32),
    "kept": ("B V", torch.bool),
    "probs": ("B V", torch.float32),
    "top_token": ("B k", torch.int64),
    "top_logprob": ("B k", torch.float32),
}
OF_WEIGHTS = ("token", "status", "rank", "num_kept", "kept")
MARGIN = 3  # elements around an output, which must stay as they were


@dataclass
class Case:
    """Logits [V], [B, V] or [B, T, V], what a `_core.Job` is told, and what it is asked for."""

    logits: Tensor
    settings: dict[str, Any] = field(default_factory=dict)
    flags: dict[str, Any] = field(default_factory=dict)
    allowed: Tensor | None = None
    bias: Tensor | None = None
    sparse: tuple[Tensor, Tensor, Tensor] | None = None
    top: int = 3
    outputs: tuple[str, ...] = tuple(SHAPES)

    @property
    def rows(self) -> int:
        return self.logits.numel() // self.logits.shape[-1]


def place(tensor: Tensor, device: str) -> Tensor:
    """The same view of a copy on the device: strides, gaps and the offset of its start stay."""
    if device == "cpu":
        return tensor
    whole = torch.empty(0, dtype=tensor.dtype).set_(tensor.untyped_storage())
    return whole.to(device).as_strided(tensor.size(), tensor.stride(), tensor.storage_offset())


class Prepared:
    """A case's job, its logits and its outputs, all on the device."""

    def __init__(self, case: Case, device: str) -> None:
        self.job: Any = _core.Job()
        self.logits = place(case.logits, device)

        def there(value: Any) -> Any:
            return place(value, device) if isinstance(value, Tensor) else value

        for name, value in case.settings.items():
            self.job.set(name, there(value))
        for name, value in case.flags.items():
            setattr(self.job, name, value)
        self.job.allow(there(case.allowed))
        self.job.bias(there(case.bias))
        if case.sparse:
            self.job.bias_sparse(*map(there, case.sparse))
        sizes = {
            "B": case.rows,
            "V": case.logits.shape[-1],
            "n": case.flags.get("num_samples", 1),
            "k": case.top,
        }
        self.outputs: dict[str, Tensor] = {}
        self._around: dict[str, Tensor] = {}
        for name in case.outputs:
            if case.flags.get("weights") and name not in OF_WEIGHTS:
                continue
            axes, dtype = SHAPES[name]
            shape = [sizes[axis] for axis in axes.split()]
            size = torch.Size(shape).numel()
            around = torch.ones(size + 2 * MARGIN, dtype=dtype, device=device)
            self._around[name] = around
            self.outputs[name] = around[MARGIN : MARGIN + size].view(shape)
            self.job.output(name, self.outputs[name])

    def answer(self) -> dict[str, Tensor]:
        """What was written, on the CPU; nothing may have been written beside it."""
        for name, around in self._around.items():
            margins = torch.cat([around[:MARGIN], around[-MARGIN:]])
            assert (margins == 1).all(), f"something was written beside {name}"
        return {name: tensor.cpu() for name, tensor in self.outputs.items()}


def on_cpu(case: Case) -> dict[str, Tensor]:
    prepared = Prepared(case, "cpu")
    prepared.job.run(prepared.logits)
    return prepared.answer()


def workspace(case: Case, device: str) -> Tensor:
    size = _core.cuda_workspace_bytes(0, case.rows, case.logits.shape[-1])
    return torch.zeros(size, dtype=torch.uint8, device=device)


def on_cuda(case: Case, device: str, space: Tensor | None = None) -> dict[str, Tensor]:
    prepared = Prepared(case, device)
    if space is None:
        space = workspace(case, device)
    prepared.job.run_cuda(prepared.logits, space)
    return prepared.answer()


def bits(tensor: Tensor) -> Tensor:
    return tensor.view(torch.int32) if tensor.dtype is torch.float32 else tensor


def unlike(expected: dict[str, Tensor], got: dict[str, Tensor]) -> list[str]:
    """The outputs that differ, bit for bit: where first, and what stands there."""
    found = []
    for name, value in expected.items():
        wrong = (bits(value) != bits(got[name])).nonzero()
        if len(wrong):
            at = tuple(wrong[0].tolist())
            found.append(
                f"{name}{list(at)}: {got[name][at].item()} instead of {value[at].item()}"
                f" ({len(wrong)} of {value.numel()} differ)"
            )
    return found


def differences(case: Case, device: str) -> list[str]:
    """The outputs in which the CUDA kernel differs from the CPU's."""
    return unlike(on_cpu(case), on_cuda(case, device))
