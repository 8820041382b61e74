"""Exactly rounded float32 from Python integers.

A Python float holds a float32 exactly; `rn` alone rounds to float32.
"""

import math
import struct

INF = math.inf


def nearest(num: int, den: int) -> int:
    """The integer nearest to num / den, ties to even; den > 0."""
    q, rest = divmod(num, den)
    return q + (2 * rest > den or (2 * rest == den and q % 2 == 1))


def rn(num: int, den: int = 1) -> float:
    """RN(num / den): the nearest float32, ties to even, subnormals kept; den > 0."""
    if num < 0:
        return -rn(-num, den)
    if num == 0:
        return 0.0
    # 2^e is the place of the last of 24 bits: num / den in [2^(e + 23), 2^(e + 24)).
    e = num.bit_length() - den.bit_length() - 23
    if num << max(-e, 0) < den << max(e, 0) + 23:
        e -= 1
    e = max(e, -149)
    units = nearest(num << max(-e, 0), den << max(e, 0))
    return math.ldexp(units, e) if units.bit_length() + e <= 128 else INF


def f32(x: float) -> float:
    """RN(x) of a float64; infinities and NaN are themselves."""
    return rn(*x.as_integer_ratio()) if math.isfinite(x) else x


def add(a: float, b: float) -> float:
    """RN(a + b) of float32."""
    if not (math.isfinite(a) and math.isfinite(b)):
        return a + b
    return fma(a, 1.0, b)


def fma(a: float, b: float, c: float) -> float:
    """RN(a * b + c) of finite float32."""
    (na, da), (nb, db), (nc, dc) = a.as_integer_ratio(), b.as_integer_ratio(), c.as_integer_ratio()
    return rn(na * nb * dc + nc * da * db, da * db * dc)


def div(a: float, b: float) -> float:
    """RN(a / b) of positive finite float32."""
    (na, da), (nb, db) = a.as_integer_ratio(), b.as_integer_ratio()
    return rn(na * db, da * nb)


def horner(coefficients: list[float], x: float) -> float:
    """fma(... fma(c[-1], x, c[-2]) ..., x, c[0])."""
    value = coefficients[-1]
    for c in reversed(coefficients[:-1]):
        value = fma(value, x, c)
    return value


def bits(x: float) -> int:
    """The 32 bits of a float32."""
    return struct.unpack("<I", struct.pack("<f", x))[0]
