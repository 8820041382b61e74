"""How often a seeded draw changes when the distribution moves from p to q: closed forms.

Three ways to draw with the same noise, p and q float64 [V] summing to 1:

- the *inverse* of the cumulative distribution, one uniform number: token i stays where its interval
  under p and its interval under q overlap;
- a *flat race*, the smallest E_i / p_i: token i wins under both with the probability
  1 / sum_j max(p_j / p_i, q_j / q_i), because the E are exponential and independent;
- onedraw's *race of two levels*: the same twice, over the blocks' masses, then within the block.

None can change less often than the total variation of p and q.
"""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
BLOCK = 64


def total_variation(p: Floats, q: Floats) -> float:
    return float(np.abs(p - q).sum() / 2)


def stays(p: Floats, q: Floats) -> Floats:
    """[n] for weights p and q (any sums): the probability that entry i wins under both.

    The maximum is p_j / p_i for the j with p_j / q_j above p_i / q_i, and q_j / q_i for the others, so
    one sort by that ratio and two running sums give all n sums.
    """
    result = np.zeros_like(p)
    both = (p > 0) & (q > 0)
    either = (p > 0) | (q > 0)
    ratio = np.full_like(p, np.inf)
    np.divide(p, q, out=ratio, where=q > 0)
    order = np.argsort(ratio[either], kind="stable")
    below_q = np.concatenate([[0.0], np.cumsum(q[either][order])])
    below_p = np.concatenate([[0.0], np.cumsum(p[either][order])])
    split = np.searchsorted(ratio[either][order], ratio[both], side="right")
    above_p = below_p[-1] - below_p[split]
    result[both] = 1.0 / (above_p / p[both] + below_q[split] / q[both])
    return result


def flat_change(p: Floats, q: Floats) -> float:
    """The share of draws that change in a race over all tokens at once."""
    return float(1.0 - stays(p, q).sum())


def race_change(p: Floats, q: Floats) -> float:
    """The share of draws that change in the race of blocks, then of the tokens of one block."""
    padding = -len(p) % BLOCK
    p = np.pad(p, (0, padding)).reshape(-1, BLOCK)
    q = np.pad(q, (0, padding)).reshape(-1, BLOCK)
    block = stays(p.sum(axis=1), q.sum(axis=1))
    same = sum(block[b] * stays(p[b], q[b]).sum() for b in np.flatnonzero(block))
    return float(1.0 - same)


def inverse_change(p: Floats, q: Floats) -> float:
    """The share of draws that change when the token is where the cumulative sum passes u."""
    upper_p, upper_q = np.cumsum(p), np.cumsum(q)
    overlap = np.minimum(upper_p, upper_q) - np.maximum(upper_p - p, upper_q - q)
    return float(1.0 - np.clip(overlap, 0.0, None).sum())
