"""The oracle against first principles: whatever it is trusted for is shown here by other means."""

import math
import random
from collections import Counter
from decimal import Decimal, localcontext
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from scipy import stats

import logits as rows
import oracle
from oracle import exact, filters, race
from oracle.tokens import Weighed, Weight, key, ordered, scale, split, weighed, weight

float32 = st.floats(width=32, allow_nan=False, allow_infinity=False)
temperatures = st.floats(-6, 6).map(lambda e: exact.f32(10.0**e))


# Rounding


@given(st.floats(allow_nan=False))
@example(2.0**-150)  # a tie with zero
@example(3 * 2.0**-150)  # a tie of subnormals
@example(math.nextafter(2.0**-150, 1))
@example((2.0**24 - 0.5) * 2.0**104)  # a tie with infinity
@example(math.nextafter((2.0**24 - 0.5) * 2.0**104, 0))
@example(1 + 2.0**-24)
@example(1 + 3 * 2.0**-24)
def test_rounding_is_that_of_numpy(x):
    with np.errstate(over="ignore", under="ignore"):
        assert exact.f32(x) == float(np.float32(x))


@given(st.fractions(), st.integers(-160, 130))
def test_rounding_is_to_the_nearest(x, e):
    x *= Fraction(2) ** e
    y = exact.rn(x.numerator, x.denominator)
    if math.isinf(y):
        assert abs(x) >= (2**24 - Fraction(1, 2)) * 2**104
        return
    below, above = (
        float(np.nextafter(np.float32(y), np.float32(way))) for way in (-np.inf, np.inf)
    )
    for other in (z for z in (below, above) if math.isfinite(z)):
        assert abs(x - Fraction(y)) <= abs(x - Fraction(other))


@given(float32, float32, float32)
def test_fma_is_the_exact_value_rounded(a, b, c):
    value = Fraction(a) * Fraction(b) + Fraction(c)
    assert exact.fma(a, b, c) == exact.rn(value.numerator, value.denominator)


@given(float32, float32)
def test_add_and_div_are_those_of_numpy(a, b):
    with np.errstate(all="ignore"):
        assert exact.add(a, b) == float(np.float32(a) + np.float32(b))
        if a > 0 and b > 0:
            assert exact.div(a, b) == float(np.float32(a) / np.float32(b))


def test_add_of_infinities():
    assert exact.add(math.inf, 1.0) == math.inf
    assert exact.add(3.0e38, 3.0e38) == math.inf
    assert math.isnan(exact.add(math.inf, -math.inf))


# The row


@given(float32, float32)
@example(0.0, -0.0)
def test_keys_are_in_the_order_of_the_floats(a, b):
    assert (key(a) < key(b)) == (a < b)
    assert (key(a) == key(b)) == (a == b)


def test_keys_of_what_is_not_finite():
    assert key(-math.inf) == 0x007FFFFF
    assert key(math.inf) == 0xFF800000
    assert key(math.nan) == key(-math.nan) == 0xFFFFFFFF
    assert key(0.0) == key(-0.0) == 0x80000000


def test_the_order_is_total():
    assert ordered([1.0, 2.0, -math.inf, 2.0, math.inf, -0.0, 0.0], -math.inf) == [4, 1, 3, 0, 5, 6]


# The weight


@given(float32, temperatures)
@example(0.5, float(np.float32(1.442695)))  # t is one half
@example(1.0, float(np.float32(1.4426950408889634)))
def test_the_weight_is_the_exponential(x, temperature):
    """Within 2^-22 of sqrt(2) * 2^t, wherever 2^t can be computed."""
    s = scale(temperature)
    t = Fraction(x) * Fraction(s)
    n, a, t_f = split(x, s)
    w = weight(x, s)
    assert 2**23 <= w.m < 2**24
    if abs(t) >= 2**61:
        assert (n, a, t_f) == (2**61 if t > 0 else -(2**61), -0.5, -0.5)
        return
    assert n == round(t)  # ties to even
    assert Fraction(t_f) == t - n
    with localcontext() as context:
        context.prec = 40
        rest = t - n
        power = (Decimal(2).ln() * (Decimal(rest.numerator) / rest.denominator)).exp()
        error = Decimal(w.m) / 2**23 / (Decimal(2).sqrt() * power) - 1
        assert abs(error) <= Decimal(2) ** -22


def test_the_weight_of_extremes():
    assert weight(math.inf, 1.0)[1] == 2**62
    low = weight(math.inf, 1.0).m
    assert weight(3e38, 1e6) == Weight(low, 2**61, -(2**22), -0.5)
    assert weight(-3e38, 1e6) == Weight(low, -(2**61), -(2**22), -0.5)


# Mass and filters, each against the rule spelled out for sets


@pytest.mark.parametrize("kind", ["lm_like", "few_values", "steep", "bfloat16_tied"])
@pytest.mark.parametrize("p", [2.0**-30, 0.3, 0.9, 0.99999])
def test_top_p_is_the_shortest_prefix(kind, p):
    table = weighed(rows.make(kind, 1, 200).tolist(), scale(1.0))
    p = exact.f32(p)
    for left in (1, 7, len(table.order)):
        target = math.ceil(Fraction(p) * table.mass(table.order[:left]))
        n = filters.top_p(table, left, p)
        assert table.mass(table.order[:n]) >= target
        assert n == 1 or table.mass(table.order[: n - 1]) < target


@pytest.mark.parametrize("kind", ["lm_like", "few_values", "steep", "plus_inf"])
@pytest.mark.parametrize("q", [2.0**-149, 1e-9, 0.05, 0.5, 1.0])
def test_min_p_compares_weights(kind, q):
    table = weighed(rows.make(kind, 2, 200).tolist(), scale(1.0))
    q = exact.f32(q)

    def value(w):  # relative to the first; what is 400 binades below it is 0 to any q
        down = table.n_row - w.n
        return Fraction(w.m, 2**down) if down < 400 else 0

    least = Fraction(q) * value(table.weights[table.order[0]])
    kept = [i for i in table.order if value(table.weights[i]) >= least]
    assert kept == table.order[: filters.min_p(table, len(table.order), q)]


@pytest.mark.parametrize("kind", ["lm_like", "peaked", "flat", "all_equal", "bfloat16_tied"])
@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_masses_are_those_of_softmax(kind, temperature):
    x = rows.make(kind, 3, 400)
    expected = np.exp(x.astype(float) / temperature)
    expected /= expected.sum()
    result = oracle.row(x.tolist(), temperature=temperature, seed=1, top=3)
    np.testing.assert_allclose(result.probs, expected, rtol=5e-7, atol=1e-12)
    logs = np.log(expected)
    assert math.isclose(result.logprob, logs[result.token], rel_tol=3e-7, abs_tol=3e-7)
    assert math.isclose(result.entropy, -(expected * logs).sum(), rel_tol=1e-6, abs_tol=1e-6)
    assert [i for i, _ in result.top] == sorted(range(400), key=lambda i: (-x[i], i))[:3]
    assert result.kept_mass == 1


def test_kept_mass_and_entropy_after_a_filter():
    x = rows.make("lm_like", 4, 300)
    result = oracle.row(x.tolist(), top_k=20, seed=1)
    p = np.exp(x.astype(float))
    kept = np.sort(p)[-20:]
    assert math.isclose(result.kept_mass, kept.sum() / p.sum(), rel_tol=1e-6)
    kept /= kept.sum()
    assert math.isclose(result.entropy, -(kept * np.log(kept)).sum(), rel_tol=1e-6)


def test_a_weight_truncated_to_zero_has_a_finite_logprob():
    result = oracle.row([0.0, -60.0], top=2)
    assert result.num_kept == 2
    assert result.token == 0
    assert math.isclose(result.top[1][1], -60, rel_tol=1e-7)


# The race


def test_variate_is_the_logarithm():
    numbers = random.Random(5)
    some = [0, 1, 2, 3, 2**63 - 1, 2**63, 2**64 - 2, 2**64 - 1]
    some += [2**k + d for k in range(2, 64) for d in (-1, 0, 1)]
    some += [numbers.getrandbits(numbers.randint(1, 64)) for _ in range(2000)]
    with localcontext() as context:
        context.prec = 50
        for u in some:
            exactly = -((Decimal(2 * u + 1) / 2**65).ln())
            assert abs(Decimal(race.variate(u)) / exactly - 1) <= Decimal(2) ** -22
    assert race.variate(2**64 - 1) == 2.0**-65


def test_score_orders_like_the_quotient():
    numbers = random.Random(6)
    for _ in range(500):
        scored = []
        for _ in range(2):
            e, f = race.variate(numbers.getrandbits(64)), numbers.randrange(2**23, 2**24) / 2**23
            n = numbers.randint(-40, 40)
            quotient = Fraction(exact.div(e, f)) / Fraction(2) ** n
            scored.append((quotient, race.score(e, f, n)))
        (a, score_a), (b, score_b) = scored
        assert (a < b) == (score_a < score_b)


def test_the_two_levels_draw_by_weight():
    """Draws over two blocks: chi-square."""
    x = {3: 0.0, 7: -1.0, 60: 1.2, 64: 0.5, 65: -3.0, 127: 0.4}
    values = [x.get(i, -math.inf) for i in range(128)]
    table = weighed(values, scale(1.0))
    draws = 6000
    drawn = Counter(
        race.two_levels(table, table.order, race.Noise(1, 0, t), 0) for t in range(draws)
    )
    weights = {i: math.exp(value) for i, value in x.items()}
    expected = {i: draws * w / sum(weights.values()) for i, w in weights.items()}
    chi2 = sum((drawn[i] - expected[i]) ** 2 / expected[i] for i in x)
    assert set(drawn) <= set(x)
    assert stats.chi2.sf(chi2, len(x) - 1) > 1e-4


def test_without_replacement_the_first_is_drawn_by_weight():
    values = [0.5, 0.25, 0.125, 0.125]
    table = weighed(values, None)
    draws = 4000
    pairs = [race.drawn(table, table.order, race.Noise(2, 0, t), 2, False) for t in range(draws)]
    assert all(a != b for a, b in pairs)
    first = Counter(a for a, _ in pairs)
    chi2 = sum((first[i] - draws * w) ** 2 / (draws * w) for i, w in enumerate(values))
    assert stats.chi2.sf(chi2, 3) > 1e-4
    # P(second is 0) = sum over a of w_a * w_0 / (1 - w_a) = .25 * .5 / .75 + 2 * .125 * .5 / .875
    expected = draws * (1 / 6 + 1 / 7)
    seconds = sum(b == 0 for _, b in pairs)
    assert abs(seconds - expected) < 4 * math.sqrt(expected)


def test_noise_depends_on_everything():
    base = {"seed": 1, "stream": 2, "position": 3}
    reference = race.Noise(**base).u(race.TOKEN, 0, 5)
    others = [race.Noise(**(base | {name: value + 1})) for name, value in base.items()]
    words = [noise.u(race.TOKEN, 0, 5) for noise in others]
    words += [race.Noise(**base).u(*a) for a in ((0, 0, 5), (1, 1, 5), (1, 0, 4), (1, 0, 6))]
    assert len({reference, *words}) == 8


# Status


@pytest.mark.parametrize(
    ("values", "options", "status"),
    [
        ([0.0, math.nan], {}, 1),
        ([0.0, math.nan], {"allowed": [True, False]}, 0),
        ([0.0, math.nan], {"temperature": 0.0}, 1),
        ([-math.inf] * 3, {}, 2),
        ([1.0, 2.0], {"allowed": [False, False]}, 2),
        ([math.inf, 0.0], {"bias": {0: -math.inf}}, 1),
        ([0.0, -0.0], {"weights": True}, 2),
        ([0.5, -0.5], {"weights": True}, 3),
        ([0.5, math.inf], {"weights": True}, 3),
        ([0.5, -math.inf], {"weights": True}, 3),
        ([0.5, math.nan], {"weights": True}, 1),
        ([0.5, 0.5, 0.0], {"weights": True, "num_samples": 3, "replacement": False}, 4),
    ],
)
def test_status(values, options, status):
    result = oracle.row(values, bad_token=1, **options)
    assert result.status == status
    assert result.tokens[0] == 1 or status == 0


def test_blocks_align_by_their_own_exponent():
    """Two blocks 70 binades apart: the lower adds no mass, and still races."""
    table = Weighed([0, 64], {0: Weight(2**23, 0, 0, 0.0), 64: Weight(2**23, -70, 0, 0.0)})
    assert table.mass([0]) == table.mass([0, 64]) == 2**40
    assert table.mass([64]) == 2**40 >> 63
    assert table.block_masses([64]) == {64 >> 6: 2**28}
