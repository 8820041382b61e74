"""What the statistical tests share: goodness of fit, and independence.

Every test has a fixed seed, so it passes or fails for good; `ALPHA` is the rate of false alarms that a
fresh seed would have, for one comparison.
"""

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from torch import Tensor

Floats = NDArray[np.float64]

ALPHA = 1e-6


def pooled(probs: Floats, count: int, least: float) -> tuple[NDArray[np.int64], Floats]:
    """The cell [V] of each token and the cells' probabilities, each cell expecting `least` draws.

    Tokens are pooled in the order of their probability; -1 is the cell of the impossible ones.
    """
    order = np.argsort(probs, kind="stable")
    order = order[probs[order] > 0]
    mass = np.cumsum(probs[order]) * count
    cell_of = np.full(len(probs), -1, dtype=np.int64)
    cell = np.zeros(len(order), dtype=np.int64)
    begin = 0
    number = 0
    while begin < len(order):
        spent = mass[begin - 1] if begin else 0.0
        end = int(np.searchsorted(mass, spent + least)) + 1
        if end >= len(order) or mass[-1] - mass[end - 1] < least:
            end = len(order)
        cell[begin:end] = number
        number += 1
        begin = end
    cell_of[order] = cell
    return cell_of, np.bincount(cell, weights=probs[order])


def chi_square(tokens: Tensor, probs: Floats, least: float = 20.0) -> float:
    """The p-value of the draws under `probs`; 0 if a token of probability 0 was drawn."""
    cell_of, expected = pooled(probs, len(tokens), least)
    cells = cell_of[tokens.numpy()]
    if (cells < 0).any():
        return 0.0
    seen = np.bincount(cells, minlength=len(expected))
    expected = expected / expected.sum() * len(tokens)
    if len(expected) < 2:
        return 1.0
    statistic = float(((seen - expected) ** 2 / expected).sum())
    return float(stats.chi2.sf(statistic, len(expected) - 1))


def power(probs: Floats, biased: Floats, count: int, least: float = 20.0) -> float:
    """The probability that `chi_square` of `count` draws from `biased` falls below `ALPHA`."""
    cell_of, expected = pooled(probs, count, least)
    possible = cell_of >= 0
    moved = np.bincount(cell_of[possible], weights=biased[possible], minlength=len(expected))
    shift = float(((moved - expected) ** 2 / expected).sum()) * count
    critical = stats.chi2.isf(ALPHA, len(expected) - 1)
    return float(stats.ncx2.sf(critical, len(expected) - 1, shift))


def rate_is(hits: int, count: int, probability: float) -> bool:
    """Whether `hits` of `count` is what a binomial of that probability gives (two-sided `ALPHA`)."""
    return float(stats.binomtest(hits, count, probability).pvalue) >= ALPHA


def independent(first: NDArray[np.int64], second: NDArray[np.int64], size: int) -> float:
    """The p-value of two sequences over 0 .. size - 1 being independent (contingency table)."""
    table = np.bincount(first * size + second, minlength=size * size).reshape(size, size)
    return float(stats.chi2_contingency(table, correction=False).pvalue)
