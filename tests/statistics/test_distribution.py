"""The draws follow the distribution that was asked for.

Each comparison raises a false alarm at the rate `ALPHA` = 1e-6 for a fresh seed; the seeds are fixed.
"""

import math

import numpy as np
import pytest
import torch
from goodness import ALPHA, chi_square, power, rate_is
from torch import Tensor

from benchmarks.data import make_logits
from benchmarks.one_row import draws, exact

FILTERED = {
    "none": {},
    "temperature": {"temperature": 1.5},
    "top-k": {"top_k": 50},
    "top-p": {"top_p": 0.9},
    "min-p": {"min_p": 0.02},
    "all three": {"temperature": 0.9, "top_k": 100, "top_p": 0.95, "min_p": 0.01},
}


@pytest.mark.parametrize("settings", FILTERED.values(), ids=FILTERED.keys())
def test_follows_the_filtered_softmax(lm_rows: Tensor, settings: dict) -> None:
    row = lm_rows[0, :1000]
    tokens = draws(row, 50_000, seed=11, **settings)
    assert chi_square(tokens, exact(row, **settings)) >= ALPHA


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_follows_the_softmax_of_narrow_logits(lm_rows: Tensor, dtype: torch.dtype) -> None:
    row = lm_rows[1, :1000].to(dtype)
    tokens = draws(row, 50_000, seed=12, top_p=0.95)
    assert chi_square(tokens, exact(row, top_p=0.95)) >= ALPHA


@pytest.mark.parametrize("distribution", ["flat", "all equal", "peaked", "mostly -inf"])
def test_follows_adverse_rows(distribution: str) -> None:
    row = make_logits(distribution, 1, 1000, seed=3)[0]
    assert chi_square(draws(row, 100_000, seed=13), exact(row)) >= ALPHA


def test_follows_masked_and_biased_rows(lm_rows: Tensor) -> None:
    row = lm_rows[2, :1000]
    allowed = torch.arange(1000) % 3 != 0
    bias = torch.linspace(-2.0, 2.0, 1000)
    settings = {"allowed": allowed, "logit_bias": bias, "top_p": 0.95}
    assert chi_square(draws(row, 50_000, seed=14, **settings), exact(row, **settings)) >= ALPHA


def test_packed_mask_draws_the_same_tokens(lm_rows: Tensor) -> None:
    row = lm_rows[2, :1000]
    allowed = torch.arange(1000) % 3 != 0
    bits = np.packbits(allowed.numpy(), bitorder="little")
    packed = torch.from_numpy(np.pad(bits, (0, 3)).view(np.int32))
    same = draws(row, 5_000, seed=14, allowed=packed)
    assert torch.equal(same, draws(row, 5_000, seed=14, allowed=allowed))


def test_a_planted_bias_of_half_a_percent_is_caught() -> None:
    """Power: two million draws see 0.5 % of the mass in the wrong place with a probability > 0.999.

    Half of the ids lose 1 % of their probability to the others: within the blocks, or between them.
    """
    count, ids = 2_000_000, np.arange(128)
    row = torch.randn(128, generator=torch.Generator().manual_seed(6))
    probs = exact(row)
    assert chi_square(draws(row, count, seed=15), probs) >= ALPHA
    for gains in (ids % 2 == 0, ids < 64):
        moved = np.where(gains, 0.005 / probs[gains].sum(), -0.005 / probs[~gains].sum())
        biased = probs * (1 + moved)
        assert abs(np.abs(biased - probs).sum() / 2 - 0.005) < 1e-9
        assert power(probs, biased, count) > 0.999
        planted = torch.from_numpy(np.log(biased)).float()
        assert chi_square(draws(planted, count, seed=15), probs) < ALPHA


def tail_row(vocab: int, lightest: float) -> Tensor:
    """[V]: 20 heavy tokens spread over the blocks; each of the others has about `lightest`."""
    generator = torch.Generator().manual_seed(7)
    row = math.log(lightest) + 0.1 * torch.randn(vocab, generator=generator)
    row[torch.arange(20) * (vocab // 20)] = math.log(1 / 20)
    return row


def test_the_tail_is_drawn_at_its_rate() -> None:
    """32,748 tokens below 1e-6, 1 % together: their number, and where in the tail they fall.

    All sit in blocks, and some beside a token 150,000 times as likely. Power: 200,000 draws see the
    tail's rate wrong by 15 % of itself with a probability of 0.99.
    """
    row = tail_row(32_768, 3.1e-7)
    probs = exact(row)
    light = probs < 1e-6
    assert light.sum() > 32_700
    assert 0.009 < probs[light].sum() < 0.012
    tokens = draws(row, 200_000, seed=16)
    drawn = tokens[torch.from_numpy(light)[tokens]]
    assert rate_is(len(drawn), len(tokens), float(probs[light].sum()))
    tail = np.where(light, probs, 0.0)
    assert chi_square(drawn, tail / tail.sum()) >= ALPHA


def test_the_tail_beside_a_heavy_token_is_drawn_at_its_rate() -> None:
    """One block: 63 tokens of 4e-7 each beside one of all the rest; 50 draws of the tail expected."""
    row = torch.full((64,), math.log(4e-7))
    row[17] = 0.0
    tokens = draws(row, 2_000_000, seed=17)
    assert rate_is(int((tokens != 17).sum()), len(tokens), float(1 - exact(row)[17]))


@pytest.mark.slow
def test_tokens_of_no_weight_are_never_drawn() -> None:
    """Ten million draws of 16 tokens: at -inf, masked, and lighter than any draw can see."""
    row = torch.tensor([0.0, -math.inf, 1.0, -2.0] * 4)
    allowed = torch.arange(16) % 5 != 2
    row[12] = -300.0
    tokens = draws(row, 10_000_000, seed=18, allowed=allowed)
    never = (row == -math.inf) | ~allowed | (row < -200)
    counts = torch.bincount(tokens, minlength=16)
    assert counts[never].sum() == 0
    assert (counts[~never] > 0).all()


@pytest.mark.slow
@pytest.mark.parametrize("row", [0, 4, 7])
@pytest.mark.parametrize(
    "settings", [{}, {"temperature": 0.8, "top_k": 50, "top_p": 0.9}], ids=["plain", "filtered"]
)
def test_follows_real_logits(real_rows: Tensor, row: int, settings: dict) -> None:
    logits = real_rows[row]
    tokens = draws(logits, 150_000, seed=19, **settings)
    assert chi_square(tokens, exact(logits, **settings)) >= ALPHA


@pytest.mark.slow
def test_the_tail_of_real_logits_is_drawn_at_its_rate(real_rows: Tensor) -> None:
    """At temperature 1.5 the tokens below 1e-6 are up to a few percent of the mass."""
    for logits in real_rows[:3]:
        probs = exact(logits, temperature=1.5)
        light = torch.from_numpy(probs < 1e-6)
        tokens = draws(logits, 50_000, seed=20, temperature=1.5)
        share = float(probs[light.numpy()].sum())
        assert rate_is(int(light[tokens].sum()), len(tokens), share)
