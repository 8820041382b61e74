"""One row asked of onedraw's public functions, compared with what the oracle answers."""

import math
from typing import Any

import numpy as np
import pytest
import torch

import onedraw
import oracle

# The oracle takes the logarithm from libm, the core from its own log64 (R6.5: within 1e-15 of a
# number up to 44): where large numbers cancel, that absolute difference is what is left. Elsewhere
# it can only move a value across the middle of two float32.
ABSOLUTE = 2e-13


def same(got: float, expected: float) -> bool:
    """Whether two float32 are equal, up to the error of the logarithm."""
    if not math.isfinite(expected):
        return got == expected or (math.isnan(got) and math.isnan(expected))
    return abs(got - expected) <= float(np.spacing(np.float32(abs(expected)))) + ABSOLUTE


def packed(allowed: list[bool]) -> torch.Tensor:
    """Bools [V] as an int32 bitmask [ceil(V / 32)], bit i % 32 of word i // 32 for token i."""
    words = [0] * -(-len(allowed) // 32)
    for i, may in enumerate(allowed):
        words[i // 32] |= may << (i % 32)
    return torch.tensor(words, dtype=torch.int64).to(torch.int32)


def ask_oracle(x: torch.Tensor, options: dict[str, Any], **more: Any) -> oracle.Answer:
    """Answer for logits [V] with the options of `onedraw.sample`; masks and biases as lists."""
    options = {name: value for name, value in options.items() if name != "logit_bias"} | {
        "bias": options.get("logit_bias")
    }
    return oracle.row(x.float().tolist(), **options, **more)


def for_onedraw(options: dict[str, Any], bitmask: bool = False) -> dict[str, Any]:
    """Turn lists into what the public functions take."""
    made = dict(options)
    if isinstance(made.get("allowed"), list):
        made["allowed"] = packed(made["allowed"]) if bitmask else torch.tensor(made["allowed"])
    if isinstance(made.get("logit_bias"), list):
        made["logit_bias"] = torch.tensor(made["logit_bias"], dtype=torch.float32)
    return made


def check_row(
    x: torch.Tensor,
    options: dict[str, Any],
    expected: oracle.Answer,
    top: int = 0,
    bitmask: bool = False,
) -> onedraw.Draw:
    """Ask `sample`, `draw`, `kept_mask` and `probs` about the row [V]; compare all they say."""
    options = {"seed": 0, "position": 0} | for_onedraw(options, bitmask)
    status = torch.full((), -1, dtype=torch.int32)
    token = onedraw.sample(x, **options, raise_on_bad=False, status_out=status)
    draw = onedraw.draw(x, **options, raise_on_bad=False, report="all", top_logprobs=top)
    assert status.item() == draw.status.item() == expected.status
    assert token.item() == draw.token.item() == expected.token
    of_filters = {
        name: value
        for name, value in options.items()
        if name not in ("seed", "stream", "position", "bad_token")
    }
    if expected.status:
        for ask in (onedraw.kept_mask, onedraw.probs):
            with pytest.raises(onedraw.BadRowError):
                ask(x, **of_filters)
        return draw

    assert draw.rank.item() == expected.rank
    assert draw.num_kept.item() == expected.num_kept
    assert draw.kept_mass.item() == expected.kept_mass
    for name in ("logprob", "raw_logprob", "entropy"):
        got = getattr(draw, name).item()
        assert same(got, getattr(expected, name)), (name, got, getattr(expected, name))
    if top:
        check_top(draw, expected)
    kept = onedraw.kept_mask(x, **of_filters)
    assert kept.nonzero().flatten().tolist() == sorted(expected.kept)
    assert onedraw.probs(x, **of_filters).tolist() == expected.probs
    return draw


def check_top(draw: onedraw.Draw, expected: oracle.Answer) -> None:
    """The likeliest candidates; where there are fewer than asked for, the rest is at -inf."""
    listed = len(expected.top)
    values = draw.top_logprobs.tolist()
    assert draw.top_tokens.tolist()[:listed] == [i for i, _ in expected.top]
    for got, (_, value) in zip(values, expected.top, strict=False):
        assert same(got, value), ("top_logprobs", got, value)
    assert all(value == -math.inf for value in values[listed:])
