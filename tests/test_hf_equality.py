"""The kept sets are those of transformers' warpers.

Two differences, and no others:

- *ties*: transformers keeps every token that equals the k-th, and cuts ties at top-p in whatever order
  its sort left them. onedraw keeps the first k by (logit, id) with `ties="first"`, and all tokens
  equal to the cut with `ties="keep"`, which for top-k is transformers' set exactly.
- *rounding*: transformers sums float32 probabilities. Tokens may differ where the mass before them
  is within 1e-6 of `top_p` (of the mass, in float64), or the probability within a relative 1e-6 of
  min-p's bound. Given float64 logits, transformers meets the same bounds far more closely.
"""

import math

import pytest
import torch
from torch import Tensor
from transformers.generation.logits_process import (
    LogitsProcessorList,
    MinPLogitsWarper,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

import onedraw

CLOSE = 1e-6
VOCAB = 5003


def make(name: str) -> Tensor:
    """float32 [6, V] logits."""
    generator = torch.Generator().manual_seed(9)
    normal = torch.randn(6, VOCAB, generator=generator)
    tail = torch.empty(6, VOCAB).exponential_(1 / 1.5, generator=generator)
    masked = torch.rand(6, VOCAB, generator=generator) < 0.98
    return {
        "random": 3 * normal,
        "language model": tail + 0.8 * normal,
        "peaked": (3 * normal).index_fill_(1, torch.tensor([77]), 40.0),
        "flat": 0.01 * normal,
        "mostly -inf": (tail + normal).masked_fill(masked, -math.inf),
        "tied": (4 * (tail + 0.8 * normal)).round() / 4,
        "bfloat16": (tail + 0.8 * normal).bfloat16().float(),
        "all equal": torch.full((6, VOCAB), -2.5),
    }[name]


UNTIED = ("random", "language model", "peaked", "flat", "mostly -inf")
TIED = ("tied", "bfloat16", "all equal")


def theirs(logits: Tensor, settings: dict) -> Tensor:
    """bool [B, V]: what the warpers leave above -inf, in `generate`'s order."""
    warpers = LogitsProcessorList()
    if "temperature" in settings:
        warpers.append(TemperatureLogitsWarper(settings["temperature"]))
    if "top_k" in settings:
        warpers.append(TopKLogitsWarper(settings["top_k"]))
    if "top_p" in settings:
        warpers.append(TopPLogitsWarper(settings["top_p"]))
    if "min_p" in settings:
        warpers.append(MinPLogitsWarper(settings["min_p"]))
    return warpers(torch.zeros((1, 1), dtype=torch.int64), logits.clone()) > -math.inf


def explained(logits: Tensor, ours: Tensor, other: Tensor, settings: dict) -> Tensor:
    """bool [B, V]: tokens at which sets may differ, for a tie at the cut or a mass next to it."""
    scores = logits.double() / settings.get("temperature", 1.0)
    probs = scores.softmax(dim=-1)
    allowed = torch.zeros_like(ours)
    for mask in (
        ours,
        other,
    ):  # what one set has beyond the other may be tied with the other's last
        edge = logits.masked_fill(~mask, math.inf).amin(dim=-1, keepdim=True)
        allowed |= (logits == edge) & ~mask
    if "top_p" in settings:
        order = torch.sort(logits, dim=-1, descending=True, stable=True).indices
        mass = probs.gather(1, order)
        if "top_k" in settings:
            mass[:, settings["top_k"] :] = 0
        mass = mass / mass.sum(dim=-1, keepdim=True)
        before = mass.cumsum(dim=-1) - mass
        near = (before - settings["top_p"]).abs() <= CLOSE
        allowed |= torch.zeros_like(ours).scatter_(1, order, near)
    if "min_p" in settings:
        ratio = probs / probs.amax(dim=-1, keepdim=True) / settings["min_p"]
        allowed |= (ratio - 1).abs() <= CLOSE
    return allowed


def agree(logits: Tensor, settings: dict, ties: str = "first") -> None:
    ours = onedraw.kept_mask(logits, ties=ties, **settings)
    for dtype in (torch.float32, torch.float64):
        other = theirs(logits.to(dtype), settings)
        wrong = (ours ^ other) & ~explained(logits, ours, other, settings)
        assert not wrong.any(), (dtype, wrong.nonzero()[:5].tolist())


TEMPERATURES = [{}, {"temperature": 0.7}, {"temperature": 1.5}]
SINGLE = [
    {"top_k": 1},
    {"top_k": 50},
    {"top_k": VOCAB + 7},
    {"top_p": 0.1},
    {"top_p": 0.9},
    {"top_p": 0.999},
    {"min_p": 0.02},
    {"min_p": 0.5},
]
TOGETHER = [
    {"top_k": 50, "top_p": 0.9},
    {"top_k": 200, "min_p": 0.01},
    {"top_k": 40, "top_p": 0.95, "min_p": 0.05},
]


def label(settings: dict) -> str:
    return ",".join(f"{name}={value}" for name, value in settings.items()) or "off"


@pytest.mark.parametrize("name", UNTIED)
@pytest.mark.parametrize("temperature", TEMPERATURES, ids=label)
@pytest.mark.parametrize("settings", SINGLE + TOGETHER, ids=label)
def test_untied_rows(name: str, temperature: dict, settings: dict) -> None:
    agree(make(name), {**temperature, **settings})


@pytest.mark.parametrize("name", TIED)
@pytest.mark.parametrize("ties", ["first", "keep"])
@pytest.mark.parametrize("settings", SINGLE, ids=label)
def test_tied_rows(name: str, ties: str, settings: dict) -> None:
    agree(make(name), settings, ties)


@pytest.mark.parametrize("name", UNTIED + TIED)
@pytest.mark.parametrize("top_k", [1, 2, 50, 1000])
def test_top_k_with_ties_kept_is_theirs_exactly(kernel: str, name: str, top_k: int) -> None:
    logits = make(name)
    ours = onedraw.kept_mask(logits, top_k=top_k, ties="keep")
    assert torch.equal(ours, theirs(logits, {"top_k": top_k}))


@pytest.mark.parametrize("name", TIED)
@pytest.mark.parametrize("top_k", [1, 50, 1000])
def test_top_k_keeps_the_first_of_a_tie(name: str, top_k: int) -> None:
    """The one difference: exactly k tokens, and of those equal to the last the lowest ids."""
    logits = make(name)
    ours = onedraw.kept_mask(logits, top_k=top_k)
    other = theirs(logits, {"top_k": top_k})
    assert (ours.sum(dim=-1) == top_k).all()
    assert (ours <= other).all()
    assert (other.sum(dim=-1) >= top_k).all()
    for row, mask, all_tied in zip(logits, ours, other, strict=True):
        edge = row[mask].min()
        tied = (all_tied & (row == edge)).nonzero().flatten()
        assert torch.equal(
            mask.nonzero().flatten()[row[mask] == edge], tied[: int(mask[tied].sum())]
        )


@pytest.mark.parametrize("name", ["language model", "mostly -inf", "peaked"])
def test_per_row_settings_are_those_of_each_row(name: str) -> None:
    """One call with six different settings equals six calls of the warpers."""
    logits = make(name)
    top_k, top_p, min_p = (
        [1, 5, 50, 0, 0, 300],
        [1, 0.9, 0.5, 0.9, 1, 0.99],
        [0, 0, 0, 0, 0.1, 0.01],
    )
    temperature = [1.0, 0.7, 1.3, 1.0, 2.0, 0.9]
    ours = onedraw.kept_mask(logits, temperature=temperature, top_k=top_k, top_p=top_p, min_p=min_p)
    for row in range(6):
        settings = {"temperature": temperature[row]}
        settings |= {"top_k": top_k[row]} if top_k[row] else {}
        settings |= {"top_p": top_p[row]} if top_p[row] < 1 else {}
        settings |= {"min_p": min_p[row]} if min_p[row] else {}
        one = logits[row : row + 1]
        other = theirs(one.double(), settings)
        wrong = (ours[row] ^ other[0]) & ~explained(one, ours[row : row + 1], other, settings)[0]
        assert not wrong.any(), settings


@pytest.mark.slow
@pytest.mark.parametrize("settings", SINGLE + TOGETHER, ids=label)
def test_large_vocabulary(settings: dict) -> None:
    """[2, 128,256]; where transformers sums float32, its own error reaches the bound's size."""
    generator = torch.Generator().manual_seed(10)
    tail = torch.empty(2, 128_256).exponential_(1 / 1.5, generator=generator)
    logits = tail + 0.8 * torch.randn(2, 128_256, generator=generator)
    ours = onedraw.kept_mask(logits, temperature=0.8, **settings)
    settings = {"temperature": 0.8, **settings}
    other = theirs(logits.double(), settings)
    wrong = (ours ^ other) & ~explained(logits, ours, other, settings)
    assert not wrong.any()


def test_a_cut_that_is_one_token_off_is_caught() -> None:
    """What the comparison allows does not hide a wrong set: one token more, one token fewer."""
    logits = make("language model")
    settings = {"temperature": 0.7, "top_p": 0.9}
    ours = onedraw.kept_mask(logits, **settings)
    order = logits.argsort(dim=-1, descending=True)
    for place in (int(ours[0].sum()) - 1, int(ours[0].sum())):
        moved = ours.clone()
        moved[0, order[0, place]] ^= True
        wrong = (moved ^ ours) & ~explained(logits, moved, ours, settings)
        assert wrong.any()
