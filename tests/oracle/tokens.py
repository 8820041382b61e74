"""Rules R1 to R3: the row, its order, the weight of a token, the mass of a set of tokens."""

import math
from collections import defaultdict
from typing import NamedTuple

from .exact import INF, add, bits, div, horner, nearest, rn

OK, NAN, EMPTY, INVALID, TOO_FEW = range(5)
LOG2E = float.fromhex("0x1.715476p+0")
WEIGHT_POLY = [  # c0 .. c5 of R2.3
    float.fromhex("0x1.6a09e8p+0"),
    float.fromhex("0x1.f5e452p-1"),
    float.fromhex("0x1.5be082p-2"),
    float.fromhex("0x1.418cb8p-4"),
    float.fromhex("0x1.c0723cp-7"),
    float.fromhex("0x1.e8129cp-10"),
]


def key(x: float) -> int:
    """R1.4: a uint32 in the order of the floats."""
    if math.isnan(x):
        return 0xFFFFFFFF
    u = 0 if x == 0 else bits(x)
    return u ^ 0xFFFFFFFF if u >> 31 else u | 0x80000000


def edited(logits, allowed, bias) -> list[float]:
    """R1.3: bias first (a list, or a dict of some ids), then the mask."""
    some = bias if isinstance(bias, dict) else dict(enumerate(bias or []))
    biased = [add(x, some[i]) if i in some else x for i, x in enumerate(logits)]
    if allowed is None:
        return biased
    return [x if may else -INF for x, may in zip(biased, allowed, strict=True)]


def ordered(values, floor: float) -> list[int]:
    """R1.5, R1.7: the candidates (those whose key is above that of `floor`), likeliest first."""
    keys = [key(x) for x in values]
    return sorted((i for i, k in enumerate(keys) if k > key(floor)), key=lambda i: (-keys[i], i))


def status_of(values, weights: bool) -> int:
    """R1.6, R2.5."""
    if any(math.isnan(x) for x in values):
        return NAN
    if weights and any(x < 0 or x == INF for x in values):
        return INVALID
    return OK if ordered(values, 0.0 if weights else -INF) else EMPTY


class Weight(NamedTuple):
    """m * 2^(n - 23), with m of 24 bits; a * 2^23 (R2.2); t - n in float64 (R6.2)."""

    m: int
    n: int
    a: int
    t_f: float


def scale(temperature: float) -> float:
    """R2.1."""
    return div(LOG2E, temperature)


def split(x: float, s: float) -> tuple[int, float, float]:
    """R2.2: n, a, and t - n before rounding, of t = x * s."""
    if x == INF:
        return 2**62, -0.5, -0.5
    (nx, dx), (ns, ds) = x.as_integer_ratio(), s.as_integer_ratio()
    num, den = nx * ns, dx * ds
    if abs(num) >= den << 61:
        return (2**61 if num > 0 else -(2**61)), -0.5, -0.5
    n = nearest(num, den)
    rest = num - n * den
    y = add(rn(rest, den), 1.5)
    return n, y - 1.5, rest / den


def mantissa(a: float) -> int:
    """R2.3: m, an integer of 24 bits."""
    return int(math.ldexp(horner(WEIGHT_POLY, a), 23))


def weight(x: float, s: float) -> Weight:
    """R2.2, R2.3: of a logit above -inf."""
    n, a, t_f = split(x, s)
    return Weight(mantissa(a), n, int(math.ldexp(a, 23)), t_f)


def given_weight(x: float) -> Weight:
    """R2.5: of a positive finite float32 that is a weight itself."""
    fraction, exponent = math.frexp(x)  # fraction in [1/2, 1)
    return Weight(int(math.ldexp(fraction, 24)), exponent - 1, 0, 0.0)


class Weighed:
    """A row with a weight for each candidate; `order` holds the candidates, likeliest first."""

    def __init__(self, order: list[int], weights: dict[int, Weight]):
        self.order = order
        self.weights = weights
        self.n_b: dict[int, int] = {}  # of each block that has a candidate
        for i in order:
            self.n_b.setdefault(i >> 6, weights[i].n)
        self.n_row = max(self.n_b.values())

    def in_block(self, i: int) -> int:
        """R3.1: W of token i."""
        w = self.weights[i]
        return (w.m << 8) >> min(self.n_b[i >> 6] - w.n + 3, 32)

    def block_masses(self, ids) -> dict[int, int]:
        """R3.2: mass_b of each block that has one of the ids."""
        masses: dict[int, int] = defaultdict(int)
        for i in ids:
            masses[i >> 6] += self.in_block(i)
        return masses

    def aligned(self, block: int, mass: int) -> int:
        """R3.3: the mass of a block relative to the row."""
        return (mass << 12) >> min(self.n_row - self.n_b[block], 63)

    def mass(self, ids) -> int:
        """R3.3: the mass of a set of tokens."""
        return sum(self.aligned(b, mass) for b, mass in self.block_masses(ids).items())


def weighed(values, s: float | None) -> Weighed:
    """A row of logits at scale s, or of given weights where s is None."""
    if s is None:
        order = ordered(values, 0.0)
        return Weighed(order, {i: given_weight(values[i]) for i in order})
    order = ordered(values, -INF)
    return Weighed(order, {i: weight(values[i], s) for i in order})
