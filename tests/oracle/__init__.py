"""The specification in plain Python integers: what onedraw must answer for one row.

Written from the numbered rules of `csrc/spec/README.md` and sharing no code with the kernels.
"""

import math
from dataclasses import dataclass, field

from .exact import INF, f32
from .filters import num_left
from .race import Noise, drawn
from .report import entropy, logprob, probability, raw_logprob
from .tokens import (
    EMPTY,
    INVALID,
    NAN,
    OK,
    TOO_FEW,
    edited,
    key,
    ordered,
    scale,
    status_of,
    weighed,
)

__all__ = ["EMPTY", "INVALID", "NAN", "OK", "TOO_FEW", "Answer", "row"]


@dataclass
class Answer:
    """What onedraw answers for a row; of a bad row, `status` and `tokens` alone mean anything."""

    status: int
    tokens: list[int]
    kept: list[int] = field(default_factory=list)  # in the order R1.7
    rank: int = 0  # this and the log probabilities are those of tokens[0]
    logprob: float = math.nan
    raw_logprob: float = math.nan
    mass: int = 0  # M, of what is kept
    mass_all: int = 0  # M_all, of all candidates
    kept_mass: float = math.nan
    entropy: float = math.nan
    probs: list[float] = field(default_factory=list)  # [V]
    top: list[tuple[int, float]] = field(default_factory=list)  # (id, logprob), likeliest first

    @property
    def token(self) -> int:
        return self.tokens[0]

    @property
    def num_kept(self) -> int:
        return len(self.kept)


def row(
    logits,
    *,
    temperature: float | None = None,
    top_k: int | None = None,
    top_p: float | None = None,
    min_p: float | None = None,
    ties: str = "first",
    seed: int = 0,
    stream: int = 0,
    position: int = 0,
    allowed=None,
    bias=None,
    num_samples: int = 1,
    replacement: bool = True,
    weights: bool = False,
    bad_token: int = 0,
    top: int = 0,
) -> Answer:
    """Answer one row: logits [V] or weights [V], `allowed` [V] bools, `bias` [V] or {id: value}.

    Every number is a float32 in a Python float, or becomes one; None is off.
    """
    temperature, p, q = (
        f32(float(default if x is None else x))
        for x, default in ((temperature, 1), (top_p, 1), (min_p, 0))
    )
    values = edited(logits, allowed, bias)
    bad = status_of(values, weights)
    if bad:
        return Answer(bad, [bad_token] * num_samples)
    noise = Noise(seed, stream, position)

    if temperature == 0 and not weights:  # R1.8
        order = ordered(values, -INF)
        first = order[0]
        probs = [float(i == first) for i in range(len(values))]
        listed = [(i, 0.0 if i == first else -INF) for i in order[:top]]
        raw = raw_logprob(logits, first)
        return Answer(
            OK, [first] * num_samples, [first], 1, 0.0, raw, 1, 1, 1.0, 0.0, probs, listed
        )

    table = weighed(values, None if weights else scale(temperature))
    keys = [key(x) for x in values]
    kept = table.order[: num_left(table, keys, top_k or 0, p, q, ties)]
    tokens = drawn(table, kept, noise, num_samples, replacement)
    if len(tokens) < num_samples:
        return Answer(TOO_FEW, [bad_token] * num_samples)
    mass, mass_all = table.mass(kept), table.mass(table.order)
    probs = [0.0] * len(values)
    for i in kept:
        probs[i] = probability(table, i, mass)
    within = set(kept)
    return Answer(
        status=OK,
        tokens=tokens,
        kept=kept,
        rank=table.order.index(tokens[0]) + 1,
        logprob=logprob(table, tokens[0], mass),
        raw_logprob=math.nan if weights else raw_logprob(logits, tokens[0]),
        mass=mass,
        mass_all=mass_all,
        kept_mass=f32(float(mass) / float(mass_all)),
        entropy=entropy(table, kept, mass),
        probs=probs,
        top=[(i, logprob(table, i, mass) if i in within else -INF) for i in table.order[:top]],
    )
