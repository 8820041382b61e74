"""Wherever the logits, the edits and the outputs lie in memory: the same answer."""

import sys
from pathlib import Path

import pytest
import torch

sys.path.append(str(Path(__file__).parent))

from cuda_job import Case, on_cpu, on_cuda, unlike

DTYPES = [torch.float32, torch.float16, torch.bfloat16]
SETTINGS = {"temperature": 0.9, "top_k": 90, "top_p": 0.95, "seed": 5, "position": 7}


def moved(x: torch.Tensor, before: int, gap: int) -> torch.Tensor:
    """A copy of the rows [B, V] that starts `before` elements into its memory; NaN in the gaps."""
    count, vocab = x.shape
    memory = torch.full((before + count * (vocab + gap),), float("nan"), dtype=x.dtype)
    rows = memory[before:].view(count, vocab + gap)[:, :vocab]
    rows.copy_(x)
    return rows


def some(*shape: int) -> torch.Tensor:
    return 3 * torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)))


@pytest.mark.parametrize("before", range(17))
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_the_start_of_the_logits(device, dtype, before):
    for vocab in (7, 64, 200):
        x = some(2, vocab).to(dtype)
        case = Case(moved(x, before, gap=before), SETTINGS)
        assert not unlike(on_cpu(Case(x, SETTINGS)), on_cuda(case, device))


@pytest.mark.parametrize("gap", [1, 2, 3, 4, 5, 7, 8, 9, 31, 63])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_the_stride_of_rows(device, dtype, gap):
    x = some(4, 4500).to(dtype)
    few = ("token", "status", "logprob", "num_kept", "entropy")
    expected = on_cpu(Case(x, SETTINGS, outputs=few))
    assert not unlike(expected, on_cuda(Case(moved(x, 0, gap), SETTINGS, outputs=few), device))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_views_of_steps(device, dtype):
    whole = some(2, 3, 421).to(dtype)
    views = {
        "a slice of the vocabulary": whole[:, :, 3:333],
        "every second step": whole[:, ::2, :],
        "steps first in memory": whole.transpose(0, 1),
        "a step for all": whole[:, :1, :].expand(2, 3, 421),
        "a row for all": whole[:1, :1, 5:].expand(2, 2, 416),
        "the last steps": whole[1:, -1:, 1:],
    }
    for name, x in views.items():
        keys = torch.arange(x.shape[0]) + 8
        case = Case(x, {**SETTINGS, "seed": keys, "position": keys}, {"row_stream": True})
        plain = Case(x.contiguous(), case.settings, case.flags)
        assert not unlike(on_cpu(plain), on_cuda(case, device)), name


@pytest.mark.parametrize("before", range(9))
def test_the_start_of_the_edits(device, before):
    vocab = 330
    x, bias, may = some(3, vocab), some(4, vocab + 9), some(5, vocab + 9) > -1
    words = some(3, 12).view(torch.int32)
    for allowed in (may[1:4, before : before + vocab], words[:, before % 2 :], words[1, 1:]):
        case = Case(x, SETTINGS, allowed=allowed, bias=bias[1:, before : before + vocab])
        plain = Case(
            x, SETTINGS, allowed=allowed.contiguous().clone(), bias=case.bias.contiguous().clone()
        )
        assert not unlike(on_cpu(plain), on_cuda(case, device))
