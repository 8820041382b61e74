"""Rules R2: the weight of the core against the oracle; the facts of R2.4 over all mantissas."""

import math

import numpy as np
import pytest

from onedraw import _core
from oracle import exact
from oracle.tokens import WEIGHT_POLY, mantissa, scale, weight

INF = math.inf
TEMPERATURES = [1e-6, 1e-3, 0.1, 0.7, 1.0, 1.3, 8.0, 1e3, 1e6]
# The scale that is exactly 1, so that t = x.
UNIT = scale(exact.f32(float.fromhex("0x1.715476p+0")))


def neighbours(x: float, reach: int = 3) -> list[float]:
    """The float32 around x, which may be any float64."""
    x = np.float32(x)
    found = [x]
    for way in (np.float32(-INF), np.float32(INF)):
        y = x
        for _ in range(reach):
            y = np.nextafter(y, way)
            found.append(y)
    return [float(y) for y in found if np.isfinite(y)]


def boundaries(s: float) -> list[float]:
    """Logits at which the rule changes its mind: t near n + 1/2, near powers of 2, near 2^61."""
    at = [0.0, -0.0, 2.0**-149, 2.0**-126, 1e-30, 3.4028234663852886e38]
    at += [(n + 0.5) / s for n in (*range(-40, 40), 1000, 4095, 2**20, 2**21, 2**22, 2**23 - 1)]
    at += [sign * 2.0**k / s for k in range(-30, 66) for sign in (-1, 1)]
    return [x for value in at if abs(value) < 3.4e38 for x in neighbours(value)]


def as_pair(x: float, s: float) -> tuple[int, int]:
    w = weight(x, s)
    return w.n, w.m


@pytest.mark.parametrize("temperature", TEMPERATURES)
def test_core_equals_oracle(temperature):
    s = scale(exact.f32(temperature))
    numbers = np.random.default_rng(1)
    logits = numbers.normal(0, 8, 1000).tolist() + numbers.normal(0, 8 * temperature, 1000).tolist()
    anything = numbers.integers(0, 2**32, 1500, dtype=np.uint32).view(np.float32)
    logits = [exact.f32(x) for x in logits] + anything[np.isfinite(anything)].tolist()
    for x in [*logits, *boundaries(s), INF]:
        assert _core.weight(x, s) == as_pair(x, s), (x, s)


@pytest.mark.parametrize("temperature", TEMPERATURES)
def test_monotone(temperature):
    s = scale(exact.f32(temperature))
    runs = np.random.default_rng(2).normal(0, 20 * max(temperature, 1e-3), 300).tolist()
    logits = {y for x in runs for y in neighbours(x, 20)} | set(boundaries(s))
    weights = [_core.weight(x, s) for x in [*sorted(logits), INF]]
    assert weights == sorted(weights)


def fma(x: np.ndarray, y: np.ndarray, z: float) -> np.ndarray:
    """RN(x * y + z) of float32 in float64: the sum is rounded to odd there, then to float32."""
    product = x * y
    total = product + z
    part = total - product
    error = (product - (total - part)) + (z - part)
    even = (total.view(np.int64) & 1) == 0
    odd = np.nextafter(total, np.where(error > 0, INF, -INF))
    return np.where(even & (error != 0), odd, total).astype(np.float32).astype(np.float64)


@pytest.fixture(scope="module")
def every_mantissa() -> tuple[np.ndarray, np.ndarray]:
    """All arguments a of R2.3 and p of each, in float64."""
    a = np.arange(-(2**22), 2**22 + 1) * 2.0**-23
    p = np.full_like(a, WEIGHT_POLY[-1])
    for c in reversed(WEIGHT_POLY[:-1]):
        p = fma(p, a, c)
    return a, p


def test_every_mantissa_is_within_one_binade_and_monotone(every_mantissa):
    _, p = every_mantissa
    assert len(p) == 2**23 + 1
    assert p.min() >= 1
    assert p.max() <= 2 - 2.0**-23
    assert (np.diff(p) >= 0).all()


def test_every_mantissa_is_within_the_error(every_mantissa):
    a, p = every_mantissa
    error = np.abs(p / (math.sqrt(2) * np.exp2(a)) - 1).max()
    assert error < 2.0**-22.3
    # What y's rounding adds to it: half a unit of 2^-23 in the exponent.
    assert error + math.log(2) * 2.0**-24 < 2.0**-22


def test_the_core_has_these_mantissas(every_mantissa):
    a, p = every_mantissa
    assert UNIT == 1
    for i in [*range(0, len(a), 97), len(a) - 1]:
        assert _core.weight(a[i], 1.0) == (0, p[i] * 2**23)
    for i in range(0, len(a), 9973):
        assert mantissa(float(a[i])) == p[i] * 2**23
