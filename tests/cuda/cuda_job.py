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
OF_WEIGHTS = ("token", "status", "num_kept")


@dataclass
class Case:
    """Logits [B, V] or [B, T, V], and what a `_core.Job` is told."""

    logits: Tensor
    settings: dict[str, Any] = field(default_factory=dict)
    flags: dict[str, Any] = field(default_factory=dict)
    allowed: Tensor | None = None
    bias: Tensor | None = None
    sparse: tuple[Tensor, Tensor, Tensor] | None = None
    top: int = 3

    def job(self, device: str) -> tuple[Any, dict[str, Tensor]]:
        """The job and its outputs, all on the device."""

        def there(value: Any) -> Any:
            return value.to(device) if isinstance(value, Tensor) else value

        job = _core.Job()
        for name, value in self.settings.items():
            job.set(name, there(value))
        for name, value in self.flags.items():
            setattr(job, name, value)
        job.allow(there(self.allowed))
        job.bias(there(self.bias))
        if self.sparse:
            job.bias_sparse(*map(there, self.sparse))
        rows = self.logits.numel() // self.logits.shape[-1]
        sizes = {
            "B": rows,
            "V": self.logits.shape[-1],
            "n": self.flags.get("num_samples", 1),
            "k": self.top,
        }
        outputs = {}
        for name, (shape, dtype) in SHAPES.items():
            if self.flags.get("weights") and name not in OF_WEIGHTS:
                continue
            outputs[name] = torch.ones(
                [sizes[axis] for axis in shape.split()], dtype=dtype, device=device
            )
            job.output(name, outputs[name])
        return job, outputs


def on_cpu(case: Case) -> dict[str, Tensor]:
    job, outputs = case.job("cpu")
    job.run(case.logits)
    return outputs


def workspace(case: Case, device: str) -> Tensor:
    rows = case.logits.numel() // case.logits.shape[-1]
    size = _core.cuda_workspace_bytes(0, rows, case.logits.shape[-1])
    return torch.zeros(size, dtype=torch.uint8, device=device)


def on_cuda(case: Case, device: str) -> dict[str, Tensor]:
    job, outputs = case.job(device)
    job.run_cuda(case.logits.to(device), workspace(case, device))
    if device == "cuda":
        torch.cuda.synchronize()
    return {name: tensor.cpu() for name, tensor in outputs.items()}


def differences(case: Case, device: str) -> list[str]:
    """The outputs in which the two sides differ, bit for bit."""
    expected, got = on_cpu(case), on_cuda(case, device)
    words = {torch.float32: torch.int32}
    return [
        f"{name}: {got[name].tolist()} instead of {value.tolist()}"[:400]
        for name, value in expected.items()
        if not torch.equal(
            value.view(words.get(value.dtype, value.dtype)),
            got[name].view(words.get(value.dtype, value.dtype)),
        )
    ]
