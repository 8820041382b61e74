"""A peer is timed only after its answer was found right."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

import onedraw
from benchmarks.filters import Filters
from benchmarks.peers import PEERS, Draw

CHECKED_ROWS = 4  # of the kept sets; the tokens of all rows are checked
MASS_TOLERANCE = 2e-5  # what float32 sums over 262,144 tokens may move a cut by
EDGE_TOLERANCE = 1e-5  # logits this close to a cut count as tied with it


class WrongAnswerError(AssertionError):
    """A peer's answer is not what onedraw says it should be."""


@dataclass(frozen=True)
class Expected:
    """What onedraw keeps of logits [B, V]: bool [B, V], at a tie the first ids (`first`) or all (`keep`).

    A peer may do either: what top-k leaves of a tie also moves the mass that top-p counts.
    """

    first: Tensor
    keep: Tensor


def expect(filters: Filters, logits: Tensor) -> Expected:
    return Expected(
        onedraw.kept_mask(logits, ties="first", **filters.arguments()),
        onedraw.kept_mask(logits, ties="keep", **filters.arguments()),
    )


def misplaced_mass(filters: Filters, logits: Tensor, ours: Tensor, theirs: Tensor) -> Tensor:
    """[B] the probability of the tokens about which two kept sets truly differ.

    What one set has beyond the other does not count where it is tied with the other's last token.
    """
    scores = logits.double() / (filters.temperature or 1.0)
    differ = ours ^ theirs
    for mask in (ours, theirs):
        edge = scores.masked_fill(~mask, math.inf).amin(dim=-1, keepdim=True)
        differ &= mask | ((scores - edge).abs() > EDGE_TOLERANCE)
    return torch.where(differ, scores.softmax(dim=-1), 0.0).sum(dim=-1)


def check_kept(name: str, filters: Filters, logits: Tensor, expected: Expected) -> None:
    """That the peer keeps the tokens that onedraw keeps of the first rows, ties and rounding apart."""
    kept = PEERS[name].kept
    if kept is None or filters.greedy:
        return
    logits = logits[:CHECKED_ROWS]
    theirs = kept(filters, logits)
    if theirs is None:
        return
    masses = [
        misplaced_mass(filters, logits, ours[:CHECKED_ROWS], theirs)
        for ours in (expected.first, expected.keep)
    ]
    worst = float(torch.minimum(*masses).max())
    if worst > MASS_TOLERANCE:
        raise WrongAnswerError(
            f"{name}: its kept set differs from onedraw's by a mass of {worst:.3g}"
        )


def check_tokens(
    name: str, filters: Filters, logits: Tensor, expected: Expected, token: Tensor
) -> None:
    """That every row's token [B] is one that onedraw keeps, or no further from the cut than rounding."""
    value = logits.gather(1, token.unsqueeze(1))
    if filters.greedy:
        wrong = value.squeeze(1) != logits.amax(dim=-1)
    else:
        wrong = ~expected.keep.gather(1, token.unsqueeze(1)).squeeze(1)
        if bool(wrong.any()):
            kept = expected.keep[wrong]
            reached = kept | (logits[wrong] >= value[wrong])  # the cut that lets the token in
            mass = misplaced_mass(filters, logits[wrong], kept, reached)
            wrong[wrong.clone()] = mass > MASS_TOLERANCE
    if bool(wrong.any()):
        row = int(wrong.nonzero()[0])
        raise WrongAnswerError(
            f"{name}: token {int(token[row])} of row {row} is not in the kept set"
        )


def check_peer(name: str, filters: Filters, logits: Tensor, expected: Expected, draw: Draw) -> None:
    """Compare the peer's kept set, and one draw of it, with what is expected; raises `WrongAnswerError`."""
    check_kept(name, filters, logits, expected)
    token = draw(logits)
    if token is not None:
        check_tokens(name, filters, logits, expected, token)
