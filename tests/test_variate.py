"""Rule R5.2: the exponential variate of the core against the oracle and the logarithm."""

import math
import random
from decimal import Decimal, localcontext

from onedraw import _core
from oracle import race


def arguments() -> list[int]:
    """64-bit numbers: any, small ones, ones next to 2^64, and around every power of two."""
    numbers = random.Random(1)
    found = [*range(200), *range(2**64 - 200, 2**64)]
    found += [min(2**k + d, 2**64 - 1) for k in range(8, 65) for d in range(-40, 40)]
    # 1 - v rounds up into the next binade, or to a tie, here:
    found += [2**64 - 2**k - d for k in range(8, 64) for d in (-1, 0, 1, 2)]
    found += [numbers.getrandbits(64) for _ in range(6000)]
    found += [numbers.getrandbits(numbers.randint(1, 64)) for _ in range(3000)]
    found += [2**64 - 1 - numbers.getrandbits(numbers.randint(1, 63)) for _ in range(3000)]
    return sorted(set(found))


def test_core_equals_oracle():
    for u in arguments():
        assert _core.variate(u) == race.variate(u), u


def test_within_the_error_of_the_logarithm():
    with localcontext() as context:
        context.prec = 45
        for u in arguments()[::5]:
            exactly = -((Decimal(2 * u + 1) / 2**65).ln())
            assert abs(Decimal(_core.variate(u)) / exactly - 1) < Decimal(2) ** -22, u


def test_never_zero_and_never_below_w():
    for u in arguments():
        below_one = math.ldexp((-((2 * u + 1) << (64 - u.bit_length()))) % 2**64 or 2**64, -65)
        assert _core.variate(u) >= below_one * (1 - 2.0**-24) > 0


def test_monotone():
    found = [_core.variate(u) for u in arguments()]
    assert found == sorted(found, reverse=True)
