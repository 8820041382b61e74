"""Rules R6: what is reported, in float64, rounded once to float32."""

import math
from collections import defaultdict

from .exact import INF, f32
from .tokens import Weighed, scale, weighed

LN2 = float.fromhex("0x1.62e42fefa39efp-1")
LN_SQRT2 = float.fromhex("0x1.62e42fefa39efp-2")


def logprob(row: Weighed, i: int, mass: int) -> float:
    """R6.2: of a kept token, with the mass of what is kept."""
    w = row.weights[i]
    return f32(((w.n - row.n_row) + w.t_f) * LN2 + LN_SQRT2 - (math.log(mass) - 40 * LN2))


def probability(row: Weighed, i: int, mass: int) -> float:
    """R6.4: of a kept token."""
    w = row.weights[i]
    return f32(math.ldexp(w.m, w.n - row.n_row - 23) / math.ldexp(mass, -40))


def entropy(row: Weighed, kept: list[int], mass: int) -> float:
    """R6.4: of the kept tokens, in nats."""
    first = row.weights[row.order[0]]
    sums: dict[int, int] = defaultdict(int)
    for i in kept:
        w = row.weights[i]
        sums[i >> 6] += row.in_block(i) * (((row.n_row - w.n) << 23) + first.a - w.a)
    shifts = {b: row.n_row - row.n_b[b] for b in sums}
    total = sum(value >> shifts[b] for b, value in sums.items() if shifts[b] <= 63)
    top = math.ldexp(first.a, -23) * LN2 + LN_SQRT2
    mean = math.ldexp(total, -51) / math.ldexp(mass, -40)
    return f32(max(0.0, math.log(mass) - 40 * LN2 - top + mean * LN2))


def raw_logprob(logits, i: int) -> float:
    """R6.3: at temperature 1, before edits and filters."""
    if any(math.isnan(x) for x in logits):
        return math.nan
    if logits[i] == -INF:
        return -INF
    row = weighed(logits, scale(1.0))
    return logprob(row, i, row.mass(row.order))
