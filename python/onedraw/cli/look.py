"""What the filters do to one row of logits: the likeliest tokens, and where each filter cuts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch

import onedraw

__all__ = ["Cut", "Look", "Seen", "look"]

FILTERS = ("top_k", "top_p", "min_p")  # in the order in which they apply


@dataclass(frozen=True)
class Seen:
    """One token; `probability` is before the filters, `drawn` after them."""

    rank: int
    id: int
    text: str
    probability: float
    cumulative: float
    kept: bool
    cut_by: str | None
    drawn: float


@dataclass(frozen=True)
class Cut:
    """A filter, and how many tokens were left after it and those before it."""

    filter: str
    value: float
    left: int


@dataclass(frozen=True)
class Look:
    """The likeliest tokens of one row, and every cut.

    `kept_mass` is the share of the probability that the filters leave: of a greedy row that of its token.
    """

    tokens: list[Seen]
    cuts: list[Cut]
    num_kept: int
    kept_mass: float
    entropy: float

    def record(self) -> dict[str, Any]:
        """Return plain JSON types."""
        return asdict(self)


def look(
    logits: torch.Tensor, settings: Mapping[str, Any], top: int, word: Callable[[int], str]
) -> Look:
    """Look at one row.

    Parameters
    ----------
    logits
        [V].
    settings
        The sampling parameters that were given, of `onedraw.sample`.
    top
        How many of the likeliest tokens to show; fewer where the others are at -inf.
    word
        From a token's id to its text; asked only for the tokens that are shown.

    Examples
    --------
    >>> row = torch.tensor([2.0, 1.0, 0.0, -1.0])
    >>> seen = look(row, {"top_k": 3, "top_p": 0.8}, 4, "abcd".__getitem__)
    >>> [(token.text, token.kept, token.cut_by) for token in seen.tokens]
    [('a', True, None), ('b', True, None), ('c', False, 'top_p'), ('d', False, 'top_k')]
    >>> [(cut.filter, cut.left) for cut in seen.cuts]
    [('top_k', 3), ('top_p', 2)]
    """
    greedy = settings.get("temperature") == 0
    tempered = {} if greedy else _only(settings, "temperature")
    base = onedraw.probs(logits, **tempered)
    drawn = onedraw.probs(logits, **settings)
    masks = _masks(logits, settings, greedy)
    draw = onedraw.draw(
        logits, **settings, seed=0, position=0, report=("entropy", "kept_mass"), top_logprobs=top
    )
    assert draw.top_tokens is not None  # asked for above
    assert draw.kept_mass is not None
    assert draw.entropy is not None
    ids = draw.top_tokens.tolist()[: int((~logits.isneginf()).sum())]
    cumulative = base[ids].double().cumsum(0).tolist()
    tokens = []
    for rank, (i, so_far) in enumerate(zip(ids, cumulative, strict=True), start=1):
        cut_by = next((name for name, mask in masks.items() if not mask[i]), None)
        tokens.append(
            Seen(
                rank=rank,
                id=i,
                text=word(i),
                probability=float(base[i]),
                cumulative=min(1.0, so_far),
                kept=cut_by is None,
                cut_by=cut_by,
                drawn=float(drawn[i]),
            )
        )
    return Look(
        tokens=tokens,
        cuts=[
            Cut(name, float(settings.get(name) or 0), int(mask.sum()))
            for name, mask in masks.items()
        ],
        num_kept=int(draw.num_kept),
        kept_mass=float(base[int(draw.token)] if greedy else draw.kept_mass),
        entropy=float(draw.entropy),
    )


def _only(settings: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {name: settings[name] for name in names if name in settings}


def _masks(
    logits: torch.Tensor, settings: Mapping[str, Any], greedy: bool
) -> dict[str, torch.Tensor]:
    """Bool [V], what is left after each filter that was asked for and those before it."""
    if greedy:
        return {"greedy": onedraw.kept_mask(logits, temperature=0)}
    masks: dict[str, torch.Tensor] = {}
    names = ["temperature", "ties"]
    for name in FILTERS:
        names.append(name)
        if name in settings:
            masks[name] = onedraw.kept_mask(logits, **_only(settings, *names))
    return masks
