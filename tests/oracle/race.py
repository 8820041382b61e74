"""Rules R5: the noise, the variate, the race."""

import math
from dataclasses import dataclass

from .exact import bits, div, fma, horner, rn
from .tokens import Weighed

BLOCK, TOKEN, FLAT = range(3)  # the levels of R5.1
LN2_F32 = float.fromhex("0x1.62e430p-1")
VARIATE_POLY = [  # q0 .. q8 of R5.2
    float.fromhex("0x1p+0"),
    float.fromhex("0x1.fffec0p-2"),
    float.fromhex("0x1.55a3a8p-2"),
    float.fromhex("0x1.f30fdap-3"),
    float.fromhex("0x1.0e0510p-2"),
    float.fromhex("-0x1.7297a8p-3"),
    float.fromhex("0x1.356e70p+0"),
    float.fromhex("-0x1.a3bc58p+0"),
    float.fromhex("0x1.6a1fe6p+0"),
]


def philox(counter, key) -> list[int]:
    """Philox4x32-10 (Salmon et al., 2011): four words of 32 bits."""
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(10):
        p0, p1 = c0 * 0xD2511F53, c2 * 0xCD9E8D57
        c0, c1, c2, c3 = (p1 >> 32) ^ c1 ^ k0, p1 % 2**32, (p0 >> 32) ^ c3 ^ k1, p0 % 2**32
        k0, k1 = (k0 + 0x9E3779B9) % 2**32, (k1 + 0xBB67AE85) % 2**32
    return [c0, c1, c2, c3]


@dataclass(frozen=True)
class Noise:
    """R5.1: what a row's random numbers depend on, besides level, sample and id."""

    seed: int = 0
    stream: int = 0
    position: int = 0

    def u(self, level: int, sample: int, i: int) -> int:
        """R5.1: 64 random bits."""
        seed = self.seed % 2**64
        counter = (i >> 1, level | sample << 8, self.position, self.stream)
        w = philox(counter, (seed % 2**32, seed >> 32))
        return w[2 * (i & 1)] | w[2 * (i & 1) + 1] << 32


def variate(u: int) -> float:
    """R5.2: E, within 2^-22 of -ln((2u + 1) / 2^65)."""
    lz = 64 - u.bit_length()
    remainder = -((2 * u + 1) << lz) % 2**64
    w = math.ldexp(rn(remainder), -65) if remainder else 0.5
    f = fma(w, horner(VARIATE_POLY, w), 0.0)
    return fma(float(lz), LN2_F32, f) if lz else f


def score(exponential: float, f: float, e: int) -> int:
    """R5.3: of a weight f * 2^e, e counting from the row's exponent; the smaller wins."""
    return bits(div(exponential, f)) - (max(e, -(2**20)) << 23)


def token_scores(row: Weighed, ids, noise: Noise, level: int, sample: int) -> list[tuple[int, int]]:
    """R5.4, second level: (score, id) of each token by its own weight, best first."""
    weights = row.weights
    return sorted(
        (
            score(
                variate(noise.u(level, sample, i)),
                math.ldexp(weights[i].m, -23),
                weights[i].n - row.n_row,
            ),
            i,
        )
        for i in ids
    )


def two_levels(row: Weighed, kept: list[int], noise: Noise, sample: int) -> int:
    """R5.4: the token drawn."""

    def block_score(block: int, mass: int) -> int:
        lead = mass.bit_length() - 1
        top24 = mass >> (lead - 23) if lead > 23 else mass << (23 - lead)
        e = lead - 28 + row.n_b[block] - row.n_row
        return score(variate(noise.u(BLOCK, sample, block)), math.ldexp(top24, -23), e)

    masses = row.block_masses(kept)
    _, winner = min((block_score(b, mass), b) for b, mass in masses.items() if mass > 0)
    inside = [i for i in kept if i >> 6 == winner]
    return token_scores(row, inside, noise, TOKEN, sample)[0][1]


def drawn(row: Weighed, kept: list[int], noise: Noise, samples: int, replacement: bool) -> list:
    """R5.5: the tokens of several samples; fewer than asked for if there are too few."""
    if replacement:
        return [two_levels(row, kept, noise, j) for j in range(samples)]
    return [i for _, i in token_scores(row, kept, noise, FLAT, 0)[:samples]]
