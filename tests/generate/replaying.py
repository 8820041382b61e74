"""A stand-in for CUDA graphs on a CPU: a step's operators, recorded with their tensors and run again on these."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

from onedraw import devices, ops, sampler


def memory(x: Tensor) -> int:
    return x.untyped_storage().data_ptr()


class Tape(TorchDispatchMode):
    """Runs what it records; what asks for a value is an error, as in a capture."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[Callable[[], None]] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func is torch.ops.aten._local_scalar_dense.default:
            raise RuntimeError("operation not permitted when stream is capturing")
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        # What has memory of its own is written anew; a view, or an argument, is there already.
        given = {memory(x) for x in pytree.tree_leaves((args, kwargs)) if isinstance(x, Tensor)}
        made = [x for x in pytree.tree_leaves(result) if isinstance(x, Tensor)]
        fresh = [at for at, x in enumerate(made) if memory(x) not in given]

        def call() -> None:
            again = [x for x in pytree.tree_leaves(func(*args, **kwargs)) if isinstance(x, Tensor)]
            for at in fresh:
                made[at].copy_(again[at])

        self.calls.append(call)
        return result


def capture(step: Callable[[], None]) -> Callable[[], None]:
    """As `onedraw.generate.graph.capture`; the step that it runs is the first replay."""
    tape, outputs_of = Tape(), sampler.draw_outputs
    outputs: dict[str, Tensor] = {}

    def seen(*args: Any) -> dict[str, Tensor]:
        outputs.update(outputs_of(*args))
        return outputs

    def recorded(run: Callable[..., None]) -> Callable[..., None]:
        def call(job: Any, *given: Any, **more: Any) -> None:
            def again() -> None:
                """A launch has its arguments by value; a job is told of its outputs for one run."""
                for name, tensor in outputs.items():
                    job.output(name, tensor)
                run(job, *given, **more)

            run(job, *given, **more)
            tape.calls.append(again)

        return call

    with pytest.MonkeyPatch.context() as patch, tape:
        patch.setattr(ops, "run", recorded(ops.run))
        patch.setattr(devices, "launch", recorded(devices.launch))
        patch.setattr(sampler, "draw_outputs", seen)
        step()
    first = True

    def replay() -> None:
        nonlocal first
        if not first:
            for call in tape.calls:
                call()
        first = False

    return replay
