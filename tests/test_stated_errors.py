"""The numbers of a record are as near the exact ones as docs/determinism.md states.

Exact is float64 here: t = x * s is, 2^t is within 2^-52, and sums are by math.fsum.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import logits as rows
import onedraw

# As the table has them, each of the exact value.
BOUNDS: dict[str, Callable[[float], float]] = {
    "probs": lambda p: 2.0**-20 * p + 2.0**-150,
    "kept_mass": lambda q: 2.0**-20 * q,
    "logprob": lambda log: 2.0**-20 + 2.0**-24 * abs(log),
    "raw_logprob": lambda log: 2.0**-20 + 2.0**-24 * abs(log),
    "entropy": lambda h: 2.0**-16 + 2.0**-20 * h,
}
LOG2E = np.float32(float.fromhex("0x1.715476p+0"))
LN2 = math.log(2)
# Those at +inf and with |t| above 2^61 are not what the bounds are about.
KINDS = sorted({*rows.GOOD} - {"plus_inf", "wide_range"})
SETTINGS: list[dict[str, Any]] = [
    {},
    {"temperature": 0.3},
    {"temperature": 2.5, "top_k": 40},
    {"temperature": 0.8, "top_p": 0.9},
    {"temperature": 1.7, "min_p": 0.02},
]


class Exact:
    """The softmax of a row x [V] over the tokens `kept`, at the scale that R2.1 makes."""

    def __init__(self, x: np.ndarray, temperature: float, kept: np.ndarray) -> None:
        t = x.astype(np.float64) * float(LOG2E / np.float32(temperature))
        self.t = t - t.max()
        self.kept = kept
        self.total = math.fsum(np.exp2(self.t[kept]))
        self.whole = math.fsum(np.exp2(self.t))

    def logprob(self, i: int) -> float:
        return float(self.t[i]) * LN2 - math.log(self.total)

    def probs(self) -> np.ndarray:
        return np.where(self.kept, np.exp2(self.t) / self.total, 0.0)

    def kept_mass(self) -> float:
        return self.total / self.whole

    def entropy(self) -> float:
        t = self.t[self.kept]
        return math.log(self.total) - math.fsum(np.exp2(t) / self.total * t) * LN2


def share_of_bound(name: str, got: Tensor | float, exact: Any) -> float:
    """The largest error as a share of what is stated."""
    difference = np.abs(np.asarray(got, dtype=np.float64) - exact)
    return float((difference / BOUNDS[name](exact)).max())


def shares(x: Tensor, settings: dict[str, Any]) -> dict[str, float]:
    """Of every number of a record of the row x [V], the largest error as a share of its bound."""
    kept = onedraw.kept_mask(x, **settings)
    exact = Exact(x.numpy(), settings.get("temperature", 1.0), kept.numpy())
    everything = Exact(x.numpy(), 1.0, np.ones(len(x), dtype=bool))
    seeds = onedraw.seeds(1, range(8))
    draw = onedraw.draw(
        x.expand(8, -1),
        **settings,
        seed=seeds,
        position=0,
        report="all",
        top_logprobs=min(len(x), 300),
    )
    found = {
        "probs": share_of_bound("probs", onedraw.probs(x, **settings), exact.probs()),
        "kept_mass": share_of_bound("kept_mass", draw.kept_mass[0], exact.kept_mass()),
        "entropy": share_of_bound("entropy", draw.entropy[0], exact.entropy()),
    }
    logprobs = [
        (i, value)
        for tokens, values in (
            (draw.token, draw.logprob),
            (draw.top_tokens[0], draw.top_logprobs[0]),
        )
        for i, value in zip(tokens.tolist(), values.tolist(), strict=True)
        if value > -math.inf
    ]
    found["logprob"] = max(share_of_bound("logprob", v, exact.logprob(i)) for i, v in logprobs)
    found["raw_logprob"] = max(
        share_of_bound("raw_logprob", v, everything.logprob(i))
        for i, v in zip(draw.token.tolist(), draw.raw_logprob.tolist(), strict=True)
    )
    return found


def check(found: dict[str, float]) -> None:
    assert {name: share for name, share in found.items() if not share <= 1} == {}


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
@pytest.mark.parametrize("kind", KINDS)
def test_rows_of_every_kind(kind: str, settings: dict[str, Any], kernel: str) -> None:
    for v in (1, 70, 3000):
        check(shares(torch.from_numpy(rows.make(kind, 5, v)), settings))


@pytest.mark.parametrize("kind", ["lm_like", "flat", "steep"])
def test_a_large_vocabulary(kind: str) -> None:
    check(shares(torch.from_numpy(rows.make(kind, 6, 500_000)), {}))


def cut_off(blocks: int, below: float, apart: float) -> Tensor:
    """Blocks whose first token is likely and whose 63 others, `below` it in t, are cut off.

    The blocks but the first are `apart` below it.
    """
    t = torch.full((blocks, 64), -below)
    t[:, 0] = 0
    t[1:] -= apart
    return (t / float(LOG2E)).flatten()


@pytest.mark.parametrize("below", [27.01, 28.01, 28.5, 28.51, 29.0, 31.0, 40.0])
@pytest.mark.parametrize(("blocks", "apart"), [(1, 0.0), (2000, 11.0), (2000, 13.0), (2000, 40.5)])
def test_rows_of_which_much_is_cut_off(below: float, blocks: int, apart: float) -> None:
    """The worst that R3.1 and R3.3 cut off: the bounds hold, and that of entropy is no idle one."""
    found = shares(cut_off(blocks, below, apart), {})
    check(found)
    if below == 28.51 and blocks == 1:
        assert found["entropy"] > 0.2


def test_probabilities_below_the_normal_numbers(kernel: str) -> None:
    x = torch.linspace(0, -106, 700)
    p = onedraw.probs(x)
    assert ((p > 0) & (p < 2.0**-126)).any()
    assert (p == 0).any()
    check(shares(x, {}))


def test_far_apart() -> None:
    """What float64 rounds in t is far below the rounding to float32 at any distance."""
    for gap in (1e3, 1e9, 1e15, 1e18):
        check(shares(torch.tensor([0.0, -gap, -gap * 1.25]), {}))


@pytest.mark.parametrize("temperature", [1.0, 0.37, 0.8, 1e-3, 977.0])
def test_the_softmax_is_that_of_nearly_the_given_temperature(temperature: float) -> None:
    given = float(np.float32(temperature))
    scale = float(LOG2E / np.float32(temperature))
    assert abs(scale * LN2 * given - 1) < 2.0**-23.7
    if temperature == 1:
        assert abs(scale * LN2 - 1) < 2.0**-26.1
    x = torch.from_numpy(rows.make("lm_like", 7, 2000))
    draw = onedraw.draw(
        x, temperature=temperature, seed=1, position=0, report="all", top_logprobs=9
    )
    z = x.double() / given
    exact = (z - z.max() - (z - z.max()).exp().sum().log())[draw.top_tokens].numpy()
    moved = 2.0**-23.7 * np.maximum(np.abs(exact), draw.entropy.item())
    error = np.abs(draw.top_logprobs.double().numpy() - exact)
    assert (error <= BOUNDS["logprob"](exact) + moved).all()
