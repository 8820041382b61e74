"""Logits that differ a little almost always give the same seeded token.

Noise that moves about 1 % of the mass (total variation) may change at most 2.5 % of the draws; the
inverse of the cumulative distribution, the usual way to draw, changes many times as many, and no way
changes fewer than the 1 %. How often the race changes is known in closed form
(`benchmarks.race_theory`), so the measured rate is also compared with that: a false alarm comes with
a probability of 6e-7 (5 sigma) a comparison.
"""

import numpy as np
import pytest
import torch
from torch import Tensor

from benchmarks.coupling import FILTERS, TEMPERATURES, changes
from benchmarks.one_row import draws
from benchmarks.race_theory import flat_change, inverse_change

VARIATION = 0.01

every_filter = pytest.mark.parametrize("settings", FILTERS.values(), ids=FILTERS.keys())
every_temperature = pytest.mark.parametrize("temperature", TEMPERATURES)


def check(rows: Tensor, count: int, settings: dict) -> dict[str, float]:
    mean = changes(rows, VARIATION, count, settings)
    sigma = (mean["race"] / (count * len(rows))) ** 0.5
    assert abs(mean["measured"] - mean["race"]) < 5 * sigma, mean
    assert 0.5 * VARIATION < mean["variation"] < 1.5 * VARIATION, mean
    assert mean["variation"] - 5 * sigma < mean["measured"] < 0.025, mean
    assert mean["variation"] < min(mean["flat"], mean["race"]), mean
    assert mean["inverse"] > 1.5 * mean["race"], mean
    return mean


@every_filter
@every_temperature
def test_of_synthetic_logits(lm_rows: Tensor, temperature: float, settings: dict) -> None:
    check(lm_rows, 4_000, {"temperature": temperature, **settings})


@pytest.mark.slow
@every_filter
@every_temperature
def test_of_real_logits(real_rows: Tensor, temperature: float, settings: dict) -> None:
    mean = check(real_rows, 4_000, {"temperature": temperature, **settings})
    if not settings:
        assert mean["inverse"] > 4 * mean["race"], mean  # over the whole vocabulary


def test_equal_logits_never_change(lm_rows: Tensor) -> None:
    first = draws(lm_rows[0], 2_000, seed=1, top_p=0.9)
    assert torch.equal(first, draws(lm_rows[0].clone(), 2_000, seed=1, top_p=0.9))


def test_the_closed_forms_by_simulation() -> None:
    """The formulas against 400,000 simulated races, without onedraw."""
    generator = np.random.default_rng(8)
    p = generator.dirichlet(np.full(200, 0.2))
    q = p * np.exp(0.3 * generator.standard_normal(200))
    q[:10] = 0
    q /= q.sum()
    flat = np.mean(
        [
            ((e / p).argmin(axis=1) != (e / np.maximum(q, 1e-300)).argmin(axis=1)).mean()
            for e in (generator.exponential(size=(10_000, 200)) for _ in range(40))
        ]
    )
    u = generator.random(400_000)
    inverse = (np.searchsorted(p.cumsum(), u) != np.searchsorted(q.cumsum(), u)).mean()
    assert abs(flat - flat_change(p, q)) < 5 * (flat / 400_000) ** 0.5
    assert abs(inverse - inverse_change(p, q)) < 5 * (inverse / 400_000) ** 0.5
