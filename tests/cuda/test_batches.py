"""A row's answer does not depend on the rows beside it, nor on how a launch is laid out for them."""

import sys
from pathlib import Path

import pytest
import torch

sys.path.append(str(Path(__file__).parent))

from cuda_job import SHAPES, Case, differences, on_cuda, unlike

FEW = ("token", "status", "logprob", "num_kept")


def some(*shape: int) -> torch.Tensor:
    return 3 * torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)))


def mixed(batch: int, vocab: int) -> Case:
    """Requests of every kind side by side, one in seven bad."""
    x, row = some(batch, vocab), torch.arange(batch)
    x[row % 7 == 3, -1] = float("nan")
    x[row % 14 == 5] = float("-inf")
    settings = {
        "temperature": torch.tensor([0.0, 0.7, 1.0, 1.5, 1e-3])[row % 5],
        "top_k": torch.tensor([0, 5, 50])[row % 3],
        "top_p": torch.tensor([1.0, 0.9])[row // 2 % 2],
        "min_p": torch.tensor([0.0, 0.0, 0.01, 0.3])[row % 4],
        "seed": row * 7 - 3,
        "stream": row % 3,
        "position": row + 100,
    }
    return Case(x, settings, {"bad_token": vocab - 1})


def of_rows(case: Case, rows: torch.Tensor, outputs: tuple[str, ...] = tuple(SHAPES)) -> Case:
    settings = {name: value[rows] for name, value in case.settings.items()}
    return Case(case.logits[rows], settings, case.flags, outputs=outputs)


@pytest.mark.parametrize("batch", [1, 2, 3, 5, 33, 131, 132, 133, 265])
def test_a_batch(device, batch):
    case = mixed(batch, 70)
    case.outputs = tuple(SHAPES) if batch < 132 else FEW
    assert not differences(case, device)


@pytest.mark.parametrize(("batch", "vocab"), [(1000, 65), (4095, 1), (4096, 33)])
def test_a_large_batch(device, batch, vocab):
    row = torch.arange(batch)
    settings = {"temperature": torch.tensor([1.0, 0.0, 0.7])[row % 3], "seed": row, "position": 9}
    case = Case(some(batch, vocab), settings, outputs=("token", "status"))
    case.logits[row % 7 == 3, -1] = float("nan")
    assert not differences(case, device)


@pytest.mark.parametrize("batch", [1, 2, 9, 65, 131])
def test_rows_in_several_parts(device, batch):
    case = mixed(batch, 8333 if batch < 50 else 4200)
    case.outputs = FEW
    assert not differences(case, device)


def test_a_row_alone_and_in_any_batch(device):
    """Alone a row has the whole device; among many, one thread block."""
    case = mixed(140, 4500)
    expected = on_cuda(of_rows(case, torch.arange(140), FEW), device)
    for batch in (1, 2, 3, 7, 20):
        rows = torch.arange(140)[
            torch.randperm(140, generator=torch.Generator().manual_seed(batch))
        ]
        got = on_cuda(of_rows(case, rows[:batch], FEW), device)
        assert not unlike({name: x[rows[:batch]] for name, x in expected.items()}, got)


def test_steps_are_rows_at_the_next_positions(device):
    """[B, T, V] gives what T calls of [B, V] give."""
    x, key = some(3, 4, 5000), torch.tensor([5, 5, 9])
    settings = {"top_p": 0.9, "seed": key, "position": key}
    together = on_cuda(Case(x, settings, {"row_stream": True}, outputs=FEW), device)
    for step in range(4):
        later = {**settings, "position": key + step}
        alone = on_cuda(Case(x[:, step], later, {"row_stream": True}, outputs=FEW), device)
        assert not unlike(
            alone,
            {
                name: v.view(3, 4, -1)[:, step].reshape(alone[name].shape)
                for name, v in together.items()
            },
        )
