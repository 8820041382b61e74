"""A peer is timed only after its answer was found right."""

import math

import torch
from torch import Tensor

from benchmarks.filters import Filters
from benchmarks.peers import PEERS, Draw

CHECKED_ROWS = 4  # of the kept sets; the tokens of all rows are checked
MASS_TOLERANCE = 2e-5  # what float32 sums over 262,144 tokens may move a cut by
EDGE_TOLERANCE = 1e-5  # logits this close to a cut count as tied with it


class WrongAnswer(AssertionError):
    """A peer's answer is not what onedraw says it should be."""


def misplaced_mass(filters: Filters, logits: Tensor, ours: Tensor, theirs: Tensor) -> Tensor:
    """[B] the probability of the tokens about which two kept sets truly differ.

    Tokens tied with the last token of either set may differ: peers keep all of a tie, or any of it.
    """
    scores = logits.double() / (filters.temperature or 1.0)
    probs = scores.softmax(dim=-1)
    differ = ours ^ theirs
    for mask in (ours, theirs):
        edge = scores.masked_fill(~mask, math.inf).amin(dim=-1, keepdim=True)
        differ &= (scores - edge).abs() > EDGE_TOLERANCE
    return torch.where(differ, probs, 0.0).sum(dim=-1)


def check_kept(name: str, filters: Filters, logits: Tensor, ours: Tensor) -> None:
    """That the peer keeps the tokens in `ours` [rows, V], ties and rounding apart."""
    kept = PEERS[name].kept
    if kept is None or filters.greedy:
        return
    worst = float(misplaced_mass(filters, logits, ours, kept(filters, logits)).max())
    if worst > MASS_TOLERANCE:
        raise WrongAnswer(f"{name}: its kept set differs from onedraw's by a mass of {worst:.3g}")


def check_tokens(name: str, filters: Filters, logits: Tensor, ours: Tensor, token: Tensor) -> None:
    """That every row's token is one that `ours` [B, V] keeps, or tied with or next to the cut."""
    if filters.greedy:
        best = logits.amax(dim=-1)
        wrong = logits.gather(1, token.unsqueeze(1)).squeeze(1) != best
    else:
        drawn = torch.zeros_like(ours).scatter_(1, token.unsqueeze(1), True)
        outside = (drawn & ~ours).any(dim=-1)
        wrong = outside.clone()
        if bool(outside.any()):
            extended = ours[outside] | drawn[outside]
            mass = misplaced_mass(filters, logits[outside], ours[outside], extended)
            wrong[outside] = mass > MASS_TOLERANCE
    if bool(wrong.any()):
        row = int(wrong.nonzero()[0])
        raise WrongAnswer(f"{name}: token {int(token[row])} of row {row} is not in the kept set")


def check_peer(name: str, filters: Filters, logits: Tensor, ours: Tensor, draw: Draw) -> None:
    """Draw once with the peer and compare with [B, V] `ours`; raises `WrongAnswer`."""
    check_kept(name, filters, logits[:CHECKED_ROWS], ours[:CHECKED_ROWS])
    token = draw(logits)
    if token is not None:
        check_tokens(name, filters, logits, ours, token)
