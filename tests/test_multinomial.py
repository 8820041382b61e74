"""multinomial beside torch.multinomial: one test for both where they agree."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import onedraw

Multinomial = Callable[..., Tensor]
BOTH = pytest.mark.parametrize("draw", [onedraw.multinomial, torch.multinomial])
WEIGHTS = torch.tensor([[0.0, 10.0, 3.0, 0.0, 1.0], [1.0, 1.0, 1.0, 1.0, 0.0]])
KEYED: dict[str, Any] = {"seed": 3, "position": 0}


@BOTH
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16])
def test_shape_and_dtype(draw: Multinomial, dtype: torch.dtype) -> None:
    weights = WEIGHTS.to(dtype)
    for count in (1, 3):
        assert draw(weights, count).shape == (2, count)
        assert draw(weights[0], count).shape == (count,)
    assert draw(weights, 9, replacement=True).shape == (2, 9)
    assert draw(weights, 1).dtype is torch.int64
    assert draw(torch.empty(0, 5, dtype=dtype), 2).shape == (0, 2)


@BOTH
def test_positional_and_keyword_arguments(draw: Multinomial) -> None:
    assert draw(WEIGHTS, 9, True).shape == (2, 9)
    assert draw(WEIGHTS, num_samples=2).shape == (2, 2)
    assert draw(WEIGHTS, 2, False, generator=torch.Generator(), out=None).shape == (2, 2)


@BOTH
def test_without_replacement_by_default(draw: Multinomial) -> None:
    for _ in range(20):
        ids = draw(WEIGHTS, 3)
        assert sorted(ids[0].tolist()) == [1, 2, 4]
        assert len(set(ids[1].tolist())) == 3
        assert 4 not in ids[1]


@BOTH
def test_weight_zero_is_never_drawn(draw: Multinomial) -> None:
    ids = draw(WEIGHTS, 2000, replacement=True)
    assert set(ids[0].tolist()) == {1, 2, 4}
    assert set(ids[1].tolist()) == {0, 1, 2, 3}


@BOTH
def test_weights_need_not_sum_to_one(draw: Multinomial) -> None:
    ids = draw(torch.tensor([0.0, 3e4, 1e4]), 4000, replacement=True)
    assert abs((ids == 1).float().mean().item() - 0.75) < 0.04


@BOTH
def test_a_generator_and_torch_manual_seed(draw: Multinomial) -> None:
    flat = torch.ones(3, 1000)
    one = draw(flat, 5, generator=torch.Generator().manual_seed(1))
    assert torch.equal(draw(flat, 5, generator=torch.Generator().manual_seed(1)), one)
    assert not torch.equal(draw(flat, 5, generator=torch.Generator().manual_seed(2)), one)
    torch.manual_seed(1)
    first, second = draw(flat, 5), draw(flat, 5)
    torch.manual_seed(1)
    assert torch.equal(draw(flat, 5), first)
    assert not torch.equal(first, second)


@BOTH
def test_out(draw: Multinomial) -> None:
    out = torch.empty(0, dtype=torch.int64)
    assert draw(WEIGHTS, 3, out=out) is out
    assert out.shape == (2, 3)
    assert draw(WEIGHTS, 3, out=out) is out
    wide = torch.full((2, 6), -1)
    draw(WEIGHTS, 3, out=wide[:, ::2])
    assert (wide[:, ::2] >= 0).all()
    assert (wide[:, 1::2] == -1).all()
    with pytest.raises((RuntimeError, ValueError)):
        draw(WEIGHTS, 3, out=torch.empty(2, 3))


def test_an_empty_out_is_resized_last() -> None:
    """A draw that is refused, before or by it, leaves it as it was, and one before takes no seed."""
    out = torch.empty(0, dtype=torch.int64)
    before = torch.get_rng_state()
    for keyed in ({"seed": 1}, {"position": 1}, {"seed": [1, 2, 3], "position": 0}):
        with pytest.raises(ValueError, match="must"):
            onedraw.multinomial(WEIGHTS, 3, out=out, **keyed)
        assert out.shape == (0,)
    fixed = torch.from_numpy(np.empty(0, dtype=np.int64))
    for bad in (fixed, torch.empty(1, dtype=torch.int64).expand(2, 3)):
        with pytest.raises(ValueError, match="out must"):
            onedraw.multinomial(WEIGHTS, 3, out=bad)
    assert torch.equal(torch.get_rng_state(), before)
    with pytest.raises(onedraw.BadRowError):
        onedraw.multinomial(-WEIGHTS, 3, out=out)
    assert out.shape == (0,)


@BOTH
def test_strided_and_differentiable_input(draw: Multinomial) -> None:
    weights = torch.zeros(5, 4).t()[:2]
    weights[:, 3] = 1
    leaf = weights.clone().requires_grad_()
    for given in (weights, leaf, leaf * 1):
        ids = draw(given, 1)
        assert ids.flatten().tolist() == [3, 3]
        assert not ids.requires_grad


REFUSED = [
    # weights, num_samples, replacement, what ours says
    (WEIGHTS, 0, False, r"num_samples must be an integer in \[1, 2\^24\], got 0"),
    (WEIGHTS, -1, True, r"num_samples must be an integer in \[1, 2\^24\], got -1"),
    (WEIGHTS, 6, False, "num_samples must be at most V, 5, without replacement, got 6"),
    (WEIGHTS, 1.5, False, "num_samples must be an integer .* got 1.5"),
    (torch.ones(2, 2, 2), 1, False, r"probs must be \[V\] or \[B, V\], got float32 tensor"),
    (torch.tensor(1.0), 1, False, r"probs must be \[V\] or \[B, V\]"),
    (torch.ones(3, dtype=torch.int64), 1, False, "probs must be float32.* got int64 tensor"),
    (torch.ones(3, dtype=torch.cfloat), 1, False, "probs must be float32.* got complex64 tensor"),
    (torch.ones(2, 0), 1, True, r"probs must have 1 to 2\^22 tokens"),
    (torch.tensor([1.0, -1.0]), 1, True, "row 0 has a weight that is negative or infinite"),
    (torch.tensor([1.0, math.inf]), 1, True, "row 0 has a weight that is negative or infinite"),
    (torch.tensor([1.0, math.nan]), 1, True, "row 0 has a NaN"),
    (torch.tensor([[1.0, 0.0], [0.0, 0.0]]), 1, True, "row 1 has no token left .*of weight 0"),
]


@pytest.mark.parametrize(("weights", "count", "replacement", "text"), REFUSED)
def test_what_torch_refuses_is_refused(
    weights: Tensor, count: Any, replacement: bool, text: str, kernel: str
) -> None:
    with pytest.raises((RuntimeError, TypeError, IndexError)):
        torch.multinomial(weights, count, replacement)
    with pytest.raises((ValueError, TypeError), match=text):
        onedraw.multinomial(weights, count, replacement)


@pytest.mark.parametrize("weights", [[1.0, -0.5, 2.0], [1.0, math.inf, 0.0], [math.nan, 1.0, 1.0]])
def test_bad_weights_without_replacement(weights: list[float], kernel: str) -> None:
    given = torch.tensor(weights)
    with pytest.raises(RuntimeError):
        torch.multinomial(given, 1)
    with pytest.raises(onedraw.BadRowError):
        onedraw.multinomial(given, 1)


def test_too_few_weights_are_refused_where_torch_draws_zeros(kernel: str) -> None:
    assert 0 in torch.multinomial(torch.tensor([0.0, 1.0]), 2)
    with pytest.raises(onedraw.BadRowError, match="row 1 has fewer tokens of positive weight"):
        onedraw.multinomial(torch.tensor([[1.0, 1.0], [0.0, 1.0]]), 2)


def test_other_refusals() -> None:
    with pytest.raises(TypeError, match=r"num_samples must be an integer .* got True"):
        onedraw.multinomial(WEIGHTS, True)
    with pytest.raises(TypeError, match="replacement must be True or False, got 1"):
        onedraw.multinomial(WEIGHTS, 1, 1)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="position must be given with seed"):
        onedraw.multinomial(WEIGHTS, 1, seed=1)
    with pytest.raises(ValueError, match="generator must be left out"):
        onedraw.multinomial(WEIGHTS, 1, generator=torch.Generator(), **KEYED)
    with pytest.raises(TypeError, match="probs must be a tensor, or an array with __dlpack__"):
        onedraw.multinomial([0.5, 0.5], 1)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="probs must have values, got a meta tensor"):
        onedraw.multinomial(WEIGHTS.to("meta"), 1)
    with pytest.raises(ValueError, match="num_samples must be an integer in"):
        onedraw.multinomial(WEIGHTS, 2**24 + 1, replacement=True)


@pytest.mark.parametrize("replacement", [True, False])
def test_a_key_gives_the_same_ids_in_any_batch(replacement: bool, kernel: str) -> None:
    weights = torch.rand(4, 300, generator=torch.Generator().manual_seed(0))
    seeds = onedraw.seeds(0, range(4))
    ids = onedraw.multinomial(weights, 6, replacement, seed=seeds, stream=1, position=[0, 1, 2, 3])
    for row in range(4):
        alone = onedraw.multinomial(
            weights[row], 6, replacement, seed=seeds[row : row + 1], stream=1, position=row
        )
        assert torch.equal(alone, ids[row])


@pytest.mark.parametrize("replacement", [True, False])
def test_more_samples_begin_with_the_same(replacement: bool, kernel: str) -> None:
    weights = torch.rand(300, generator=torch.Generator().manual_seed(0))
    many = onedraw.multinomial(weights, 50, replacement, **KEYED)
    for count in (1, 7, 49):
        assert torch.equal(onedraw.multinomial(weights, count, replacement, **KEYED), many[:count])


def test_powers_of_two_and_dtypes_change_nothing(kernel: str) -> None:
    weights = torch.rand(300, generator=torch.Generator().manual_seed(0)).bfloat16()
    expected = onedraw.multinomial(weights, 50, **KEYED)
    for same in (
        weights.float(),
        weights.double(),
        weights.float() * 2.0**-100,
        weights.float() * 2.0**90,
    ):
        assert torch.equal(onedraw.multinomial(same, 50, **KEYED), expected)
    assert torch.equal(onedraw.multinomial(weights.float().numpy(), 50, **KEYED), expected)
    rounded = torch.tensor([1e-46, 1.0], dtype=torch.float64)  # float32 has no such number but 0
    assert onedraw.multinomial(rounded, 20, replacement=True).sum() == 20
    doubles = np.array([0.0, 1.0])
    assert onedraw.multinomial(doubles, 1).tolist() == [1]  # type: ignore[arg-type]


def test_all_of_a_row_in_random_order(kernel: str) -> None:
    ids = onedraw.multinomial(torch.ones(64, 100), 100)
    assert torch.equal(ids.sort(-1).values, torch.arange(100).expand(64, 100))
    assert ids.unique(dim=0).shape[0] == 64
