"""A job made ready for logits of one shape, on the host or on a device: what a Sampler runs."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from . import _core, devices, ops
from .arrays import own
from .edits import PlacedBias, placed_bias, placed_mask, set_bias
from .params import PerRow
from .results import by_request
from .state import State, on_device, set_state

__all__ = ["OnDevice", "OnHost", "prepared"]


class OnHost:
    """A job for logits of one shape on the CPU.

    Attributes
    ----------
    job : _core.Job
    steps : int
        T of logits [B, T, V], else 1.
    status : Tensor
        int32 [...], written by each run, and 0 before.
    token : Tensor
        int64 [...]: the model of every result.
    mask : Tensor or None
    bias : PlacedBias
        The Sampler's own edits, which those of a call stand in for.
    captured : bool
        Whether a CUDA graph may launch it again.
    """

    def __init__(
        self, job: _core.Job, x: Tensor, read: list[Tensor], mask: Tensor | None, bias: PlacedBias
    ) -> None:
        self.job, self.shape, self.device = job, x.shape, x.device
        self.mask, self.bias = mask, bias
        self.captured = False
        job.allow(mask)
        set_bias(job, bias)
        self.steps = ops.steps_of(x)
        self.token = ops.empty(x.shape[:-1], torch.int64, x)
        self._watch(x)
        job.output("status", self.status)

    def _watch(self, x: Tensor) -> None:
        """Make what the runs write their statuses to."""
        rows = x.shape[:-1]
        self.buffer = ops.StatusBuffer(rows.numel())
        self.status = self.buffer.tensor.view(rows)

    def fits(self, x: Tensor) -> bool:
        """Whether `x` is such logits."""
        return x.shape == self.shape and x.device == self.device

    def run(self, x: Tensor, position: PerRow, turns: devices.Turns) -> None:
        """Draw at `position`."""
        if type(position) is int:  # a tensor is read where it is
            self.job.set("position", position)
        ops.run(self.job, x)

    def bad(self) -> bool:
        """Whether the last run found a bad row, as far as that is known without waiting."""
        return self.buffer.data != self.buffer.fine

    def advanced(self, position: PerRow) -> PerRow:
        """Give the position behind the last run's."""
        if isinstance(position, Tensor):
            return position.add_(self.steps)
        return position + self.steps

    def worst(self) -> Tensor | None:
        """The worst status of each request in all runs, where nobody else keeps it."""
        return None

    def forgive(self) -> None:
        """Forget the worst statuses."""


class OnDevice(OnHost):
    """The same on a CUDA device, where nothing is looked at: the kernel keeps the worst statuses.

    It has a workspace of its own, so that a captured launch shares it with nobody.
    """

    def __init__(
        self, job: _core.Job, x: Tensor, read: list[Tensor], mask: Tensor | None, bias: PlacedBias
    ) -> None:
        super().__init__(job, x, read, mask, bias)
        job.output("worst", self.so_far)
        self.workspace = devices.new_workspace(x)
        self.streams: set[int] = set()  # that it was launched on
        edits = [mask, *(bias if isinstance(bias, tuple) else [bias])]
        self.tensors = [*read, *(edit for edit in edits if edit is not None)]
        self.tensors += [self.workspace, self.status, self.so_far]

    def _watch(self, x: Tensor) -> None:
        with torch.inference_mode(False):
            self.status = torch.zeros(x.shape[:-1], dtype=torch.int32, device=x.device)
            self.so_far = torch.zeros_like(self.status)

    def run(self, x: Tensor, position: PerRow, turns: devices.Turns) -> None:
        """Launch a draw at `position`, which it reads, and advances where steps are single."""
        if not x.numel():
            return
        turns.take(x)
        stream = _core.cuda_stream(x)
        if stream not in self.streams:
            devices.outlive(self.tensors, x)
            self.streams.add(stream)
        self.captured = self.captured or devices.capturing()
        devices.launch(self.job, x, self.workspace, advance=self.steps == 1)

    def bad(self) -> bool:
        """Not known."""
        return False

    def advanced(self, position: PerRow) -> PerRow:
        """Give the position behind the last run's."""
        if self.steps > 1:
            position.add_(self.steps)  # type: ignore[union-attr]
        return position

    def worst(self) -> Tensor | None:
        """The worst status of each request in all runs."""
        return own(by_request(self.so_far))  # type: ignore[no-any-return]

    def forgive(self) -> None:
        """Forget the worst statuses, also for a graph."""
        self.so_far.zero_()


def prepared(
    x: Tensor, state: State, position: PerRow, fallback: str | None
) -> tuple[OnHost, PerRow]:
    """A job for logits like `x`, and the position as it reads it."""
    state.check_rows(x)
    job = _core.Job()
    there = devices.on_cuda(x)
    if there:
        if devices.capturing():
            raise RuntimeError(
                "logits must be of a shape and device that this Sampler has drawn from before a CUDA "
                f"graph is captured, got {list(x.shape)}: draw once first"
            )
        position = on_device(position, x)
    read = set_state(job, x, state, position)
    mask = placed_mask(x, state.allowed, fallback)
    bias = placed_bias(x, state.logit_bias, fallback)
    kind: Any = OnDevice if there else OnHost
    return kind(job, x, read, mask, bias), position
