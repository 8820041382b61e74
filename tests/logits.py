"""Rows of logits that tests share: what a language model gives, and what it never should.

Each kind is a function (rng, V) -> float32 [V]. `integer_row` makes a row from integers alone, so
that a data file can name them instead of holding them.
"""

from collections.abc import Callable

import numpy as np

F32 = np.float32
Row = np.ndarray


def to_bfloat16(x: Row) -> Row:
    """Round float32 to the nearest bfloat16, ties to even, as float32."""
    u = x.astype(F32).view(np.uint32)
    u = u + 0x7FFF + ((u >> 16) & 1)
    return (u & np.uint32(0xFFFF0000)).view(F32)


def lm_like(rng: np.random.Generator, v: int) -> Row:
    """A bulk of spread 2.2 and a tail to the right, as in a language model."""
    return (rng.normal(0, 2.2, v) + np.maximum(rng.gumbel(0, 1.3, v), 0)).astype(F32)


def peaked(rng: np.random.Generator, v: int) -> Row:
    """One token holds nearly all of the mass."""
    x = lm_like(rng, v)
    x[rng.integers(v)] += 25
    return x


def flat(rng: np.random.Generator, v: int) -> Row:
    """All tokens nearly equal, none quite."""
    return rng.normal(0, 1e-3, v).astype(F32)


def all_equal(rng: np.random.Generator, v: int) -> Row:
    return np.full(v, rng.normal(0, 3), F32)


def mostly_inf(rng: np.random.Generator, v: int) -> Row:
    """All but a few at -inf, as a mask applied by someone else leaves them."""
    x = lm_like(rng, v)
    x[rng.random(v) > max(0.03, 1.5 / v)] = -np.inf
    x[rng.integers(v)] = 1
    return x


def bfloat16_tied(rng: np.random.Generator, v: int) -> Row:
    """What a bfloat16 model gives: many ties."""
    return to_bfloat16(lm_like(rng, v) + F32(8))


def few_values(rng: np.random.Generator, v: int) -> Row:
    """Whole numbers from -3 to 3, both zeros among them: ties everywhere, at every cut."""
    x = rng.integers(-3, 4, v).astype(F32)
    return np.where((x == 0) & (rng.random(v) < 0.5), F32(-0.0), x)


def wide_range(rng: np.random.Generator, v: int) -> Row:
    """Any exponent of a float32, subnormals and the largest among them."""
    u = rng.integers(0, 2**32, v, dtype=np.uint64).astype(np.uint32)
    x = u.view(F32)
    return np.where(np.isfinite(x), x, F32(0))


def steep(rng: np.random.Generator, v: int) -> Row:
    """Spread so that many weights vanish in their block, and blocks in the row."""
    return rng.normal(0, 40, v).astype(F32)


def plus_inf(rng: np.random.Generator, v: int) -> Row:
    """A few at +inf, and -inf too."""
    x = lm_like(rng, v)
    x[rng.random(v) < 0.05] = np.inf
    x[rng.random(v) < 0.2] = -np.inf
    x[rng.integers(v)] = np.inf
    return x


def with_nan(rng: np.random.Generator, v: int) -> Row:
    """One NaN: of either sign, with any payload."""
    x = lm_like(rng, v)
    payload = rng.integers(1, 2**22) | 0x7F800000 | int(rng.integers(2)) << 31
    x[rng.integers(v)] = np.uint32(payload).view(F32)
    return x


GOOD: dict[str, Callable[[np.random.Generator, int], Row]] = {
    f.__name__: f
    for f in (
        lm_like,
        peaked,
        flat,
        all_equal,
        mostly_inf,
        bfloat16_tied,
        few_values,
        wide_range,
        steep,
        plus_inf,
    )
}
KINDS = GOOD | {"with_nan": with_nan}


def make(kind: str, seed: int, v: int) -> Row:
    """Make the row [V] of a kind; the same for the same arguments."""
    return KINDS[kind](np.random.default_rng([seed, v]), v)


def integer_row(seed: int, v: int, coarse: int = 0) -> Row:
    """Make a row [V], roughly normal with spread 2.3, from integers alone, exact in float32.

    The finaliser of splitmix64 over (seed + i) * 0x9E3779B97F4A7C15, i from 1; the sum of its four
    16-bit fields less 131070, its lowest `coarse` bits cleared (for ties), times 2^-14.
    """
    z = (np.arange(1, v + 1, dtype=np.uint64) + np.uint64(seed)) * np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    z = z ^ (z >> np.uint64(31))
    fields = sum((z >> np.uint64(16 * k)) & np.uint64(0xFFFF) for k in range(4))
    whole = (fields.astype(np.int64) - 131070) >> coarse << coarse
    return whole.astype(F32) * F32(2.0**-14)
