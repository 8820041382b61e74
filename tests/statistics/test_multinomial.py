"""`multinomial` with and without replacement follows its weights (false alarms: `ALPHA` each)."""

import itertools

import numpy as np
import pytest
import torch
from goodness import ALPHA, chi_square
from torch import Tensor

import onedraw

CALL = 20_000


def samples(weights: Tensor, number: int, count: int, *, replacement: bool) -> Tensor:
    """int64 [count, number]: `count` independent calls' worth for one row of weights."""
    return onedraw.multinomial(
        weights.expand(count, -1),
        number,
        replacement,
        seed=torch.full((count,), 31),
        position=torch.arange(count),
    )


@pytest.mark.parametrize("scale", [1.0, 7.3, 1e-20])
def test_with_replacement(scale: float) -> None:
    """Every sample, and the second given the first; weights need not sum to one."""
    weights = torch.tensor([0.05, 0.0, 0.3, 0.15, 0.5, 0.0]) * scale
    probs = (weights.double() / weights.double().sum()).numpy()
    tokens = samples(weights, 4, CALL, replacement=True)
    assert chi_square(tokens.flatten(), probs) >= ALPHA
    pairs = tokens[:, 0] * 6 + tokens[:, 1]
    assert chi_square(pairs, np.outer(probs, probs).flatten()) >= ALPHA


def test_without_replacement() -> None:
    """Ordered pairs come with p_i p_j / (1 - p_i), and never twice the same token."""
    weights = torch.tensor([0.1, 0.0, 0.2, 0.3, 0.4, 0.05])
    probs = (weights.double() / weights.double().sum()).numpy()
    tokens = samples(weights, 3, 2 * CALL, replacement=False)
    ordered = tokens.sort(dim=1).values
    assert (ordered[:, 1:] != ordered[:, :-1]).all()
    expected = np.zeros(36)
    for i, j in itertools.permutations(range(6), 2):
        expected[i * 6 + j] = probs[i] * probs[j] / (1 - probs[i])
    assert chi_square(tokens[:, 0] * 6 + tokens[:, 1], expected) >= ALPHA


def test_without_replacement_over_many_blocks() -> None:
    """A row of several blocks: the first of the samples follows the weights themselves."""
    generator = torch.Generator().manual_seed(2)
    weights = torch.rand(300, generator=generator) ** 3
    weights[::7] = 0
    probs = (weights.double() / weights.double().sum()).numpy()
    tokens = samples(weights, 2, 2 * CALL, replacement=False)
    assert chi_square(tokens[:, 0], probs) >= ALPHA
    assert (weights[tokens] > 0).all()


def test_all_candidates_without_replacement() -> None:
    """As many samples as candidates: a permutation of them, each time."""
    weights = torch.tensor([3.0, 0.0, 1.0, 2.0])
    tokens = samples(weights, 3, 500, replacement=False)
    assert torch.equal(tokens.sort(dim=1).values, torch.tensor([0, 2, 3]).expand(500, 3))


@pytest.mark.slow
def test_weight_zero_is_never_drawn() -> None:
    """Ten million draws of 8 weights, half of them 0."""
    weights = torch.tensor([0.0, 1.0, 0.0, 2.0, -0.0, 1e-3, 0.0, 0.5])
    seen = torch.zeros(8, dtype=torch.int64)
    for turn in range(10):
        tokens = onedraw.multinomial(weights.expand(1000, -1), 1000, True, seed=turn, position=0)
        seen += torch.bincount(tokens.flatten(), minlength=8)
    assert seen.sum() == 10_000_000
    assert seen[weights == 0].sum() == 0
    assert (seen[weights > 0] > 0).all()
