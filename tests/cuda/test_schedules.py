"""A few calls that pass every barrier, counter and shuffle of the kernel, in float32.

`.ci/cuda_on_cpu` repeats them in other orders of the threads and under the sanitizers;
`.ci/cuda_mutations` says which of the kernel's synchronisations they miss where it is deleted.
"""

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

sys.path.append(str(Path(__file__).parent))

from cuda_job import OF_WEIGHTS, SHAPES, Case, Prepared, on_cpu, on_cuda, unlike, workspace


def some(*shape: int) -> torch.Tensor:
    return 3 * torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)))


def case(x: torch.Tensor, settings: dict[str, Any], **flags: Any) -> Case:
    keys = torch.arange(x.shape[0])
    return Case(x, {"seed": keys, "position": keys + 5, **settings}, flags)


def with_bad_rows(x: torch.Tensor) -> torch.Tensor:
    """The last with a NaN at either end, which two thread blocks meet, the one before it empty."""
    x[-1, [3, -3]] = float("nan")
    x[-2] = float("-inf")
    return x


def with_a_slow_block(x: torch.Tensor) -> torch.Tensor:
    """One to which the fast form of weights does not reach, for one group of threads, and a block that is not whole."""
    x[:, :64] = -1e30
    return x


ALL = {"temperature": 0.8, "top_k": 400, "top_p": 0.9, "min_p": 0.01}
TIED = some(2, 4500).round()
FLAT = some(2, 9001) * 1e-3
# One token, and behind it light ones: a block of them weighs more than they do one by one. In the order of tokens.
LIGHT = torch.cat([torch.zeros(2, 1), -25.586 - 4e-6 * torch.arange(9000).expand(2, -1)], 1)
FILTERS = ({"top_p": 0.9}, {"top_k": 3000}, {"top_k": 5000, "top_p": 0.5})
MIXED = {
    "temperature": torch.tensor([0.0, 1.0, 0.7, 1.0, 1.0]),
    "top_p": torch.tensor([1.0, 0.8, 1.0, 1.0, 0.9]),
    "top_k": torch.tensor([0, 0, 5, 0, 0]),
}
CASES = {
    "every filter": case(some(1, 9001), ALL),
    "ties": case(TIED, ALL),
    "ties kept": case(TIED, ALL, ties_keep=True),
    **{f"flat, {names}": case(FLAT, names) for names in FILTERS},
    **{f"equal, {names}": case(FLAT * 0, names) for names in FILTERS},
    **{f"wide, {names}": case(FLAT * 1e38, names) for names in FILTERS},
    "light": case(LIGHT, {"top_p": 1 - 2**-24}),
    "cold": case(some(1, 4500), {"temperature": 1e-3, "top_p": 0.9}),
    "no filter": case(some(2, 4500), {}),
    "rows of all kinds in parts": case(with_bad_rows(some(5, 4500)), MIXED),
    "rows of all kinds": case(with_bad_rows(some(5, 130)), MIXED),
    "a slow block": case(with_a_slow_block(some(5, 130)), {"top_p": 0.9}),
    "several samples": case(some(2, 300), {"top_k": 40}, num_samples=3),
    "distinct samples": case(some(2, 300), {"top_p": 0.9}, num_samples=3, replacement=False),
    "too few": case(some(1, 300), {"top_k": 2}, num_samples=3, replacement=False),
    "weights": case(some(2, 4500).abs(), {}, weights=True, num_samples=2),
    "bad weights": case(some(2, 300), {}, weights=True),
}


@pytest.mark.parametrize("outputs", [tuple(SHAPES), ("token", "status")], ids=["all", "token"])
@pytest.mark.parametrize("name", CASES)
def test_a_call(device, name, outputs):
    call = replace(CASES[name], outputs=outputs)
    assert not unlike(on_cpu(call), on_cuda(call, device))


@pytest.mark.parametrize("last", ["kept", "raw_logprob"])  # what a row's threads do at its end
def test_many_rows_one_after_another(device, last):
    """More than are in flight on 132 multiprocessors: a thread block takes the next row."""
    call = case(some(280, 65), {"top_k": 5})
    call.outputs = ("token", last)
    assert not unlike(on_cpu(call), on_cuda(call, device))


def test_calls_with_one_workspace(device):
    names = ("every filter", "rows of all kinds in parts", "weights")
    calls = [replace(CASES[name], outputs=OF_WEIGHTS) for name in names]
    space = max((workspace(call, device) for call in calls), key=len)
    for call in [*calls, calls[0]]:
        assert not unlike(on_cpu(call), on_cuda(call, device, space))


@pytest.mark.parametrize("vocab", [70, 4500])
def test_advancing(device, vocab):
    call = case(some(3, vocab), {"top_p": 0.9})
    call.outputs = ("token",)
    prepared, space = Prepared(call, device), workspace(call, device)
    position = torch.arange(3, device=device)
    prepared.job.set("position", position)
    for step in range(2):
        prepared.job.run_cuda(prepared.logits, space, advance=True)
        call.settings["position"] = torch.arange(3) + step
        assert not unlike(on_cpu(call), prepared.answer())
    assert position.tolist() == [2, 3, 4]
