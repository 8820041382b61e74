"""Small tables worked by hand: what the filters keep, who is drawn from, and with what share.

At the temperature LOG2E (as float32) the scale of R2.1 is exactly 1, so that t = x: whole logits
have a = 0 and m = c0 * 2^23 = 11863284 = 4 * 2965821. Thus W = m * 2^8 >> (n_b - n + 3) is
2965821 * 2^(7 - d) for a token d below the largest of its block, exact down to d = 7: the shares
are those of powers of two, and a target can be hit exactly.
"""

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
import torch

from answers import ask_oracle, check_row
from oracle.tokens import LOG2E

INF = math.inf
ABOVE_HALF = float(np.nextafter(np.float32(0.5), np.float32(1)))
BELOW_HALF = float(np.nextafter(np.float32(0.5), np.float32(0)))


@dataclass
class Case:
    name: str
    logits: list[float]
    options: dict[str, Any]
    kept: list[int]  # in the order R1.7
    shares: list[int] = field(default_factory=list)  # of `kept`, relative to each other
    kept_mass: tuple[int, int] = (1, 1)


# Weights of [3, 2, 1, 0] are 8 : 4 : 2 : 1, of 15; of [1, 0, 0] they are 2 : 1 : 1, of 4.
K = [
    Case("k", [0, 3, 1, 2], {"top_k": 2}, [1, 3], [8, 4], (12, 15)),
    Case("k of 1 is greedy", [1, 2, 2, 0], {"top_k": 1}, [1], [1], (4, 11)),
    Case("k off by 0", [0, 1], {"top_k": 0}, [1, 0], [2, 1]),
    Case("k off by -1", [0, 1], {"top_k": -1}, [1, 0], [2, 1]),
    Case("k = V", [0, 3, 1, 2], {"top_k": 4}, [1, 3, 2, 0], [8, 4, 2, 1]),
    Case("k > V", [0, 3, 1, 2], {"top_k": 1000}, [1, 3, 2, 0], [8, 4, 2, 1]),
    Case("k > candidates", [0, -INF, 1, -INF], {"top_k": 3}, [2, 0], [2, 1]),
    Case("k at a tie: the lower ids", [1, 0, 1, 1, 1], {"top_k": 2}, [0, 2], [1, 1], (4, 9)),
    Case("k over zeros of both signs", [-0.0, 0.0, -0.0], {"top_k": 2}, [0, 1], [1, 1], (2, 3)),
]
P = [
    # The first alone has 8/15 = 0.5333.
    Case("p within the first", [3, 2, 1, 0], {"top_p": 0.53}, [0], [1], (8, 15)),
    Case("p past the first", [3, 2, 1, 0], {"top_p": 0.54}, [0, 1], [8, 4], (12, 15)),
    # 0.8 as float32 is 0.8000000119, more than 12/15: the third is needed.
    Case("p is a float32", [3, 2, 1, 0], {"top_p": 0.8}, [0, 1, 2], [8, 4, 2], (14, 15)),
    # Its float32 neighbour below is 0.7999999523.
    Case("p just below", [3, 2, 1, 0], {"top_p": 0.79999995}, [0, 1], [8, 4], (12, 15)),
    # M is even, so that p * M is hit exactly by the first of 2 : 1 : 1.
    Case("p hit exactly", [1, 0, 0], {"top_p": 0.5}, [0], [1], (2, 4)),
    Case("p just past", [1, 0, 0], {"top_p": ABOVE_HALF}, [0, 1], [2, 1], (3, 4)),
    Case("p of 3/4", [1, 0, 0], {"top_p": 0.75}, [0, 1], [2, 1], (3, 4)),
    Case("p tiny keeps one", [1, 0, 0], {"top_p": 1e-30}, [0], [1], (2, 4)),
    Case("p off keeps what weighs nothing", [0, -200], {"top_p": 1.0}, [0, 1], [1, 0]),
    # 2^-200 adds nothing to M, so the first reaches any p below 1.
    Case("p below 1 drops what weighs nothing", [0, -200], {"top_p": 0.99999994}, [0], [1]),
]
MIN_P = [
    Case("min-p met exactly", [0, 1, -1], {"min_p": 0.5}, [1, 0], [2, 1], (6, 7)),
    Case("min-p just missed", [0, 1, -1], {"min_p": ABOVE_HALF}, [1], [1], (4, 7)),
    Case("min-p just below", [0, 1, -1], {"min_p": BELOW_HALF}, [1, 0], [2, 1], (6, 7)),
    Case("min-p of 1: all ties", [2, 1, 2, 2], {"min_p": 1.0}, [0, 2, 3], [1, 1, 1], (6, 7)),
    Case("min-p off", [0, -300], {"min_p": 0.0}, [0, 1], [1, 0]),
    # 2^-100 of the first is far below what W can hold, and weights are compared before truncation.
    Case("min-p is exact where W is 0", [0, -100, -101], {"min_p": 2.0**-100}, [0, 1], [1, 0]),
]
TIES = [
    Case("keep at k", [1, 0, 1, 1], {"top_k": 2, "ties": "keep"}, [0, 2, 3], [1, 1, 1], (6, 7)),
    Case("keep without a tie", [2, 1, 0], {"top_k": 2, "ties": "keep"}, [0, 1], [2, 1], (6, 7)),
    Case(
        "keep at k = 1 is not greedy",
        [5, 5, 0],
        {"top_k": 1, "ties": "keep"},
        [0, 1],
        [1, 1],
        (64, 65),
    ),
    Case("first at p", [0, 0, 0, 0], {"top_p": 0.5}, [0, 1], [1, 1], (2, 4)),
    Case("keep at p", [0, 0, 0, 0], {"top_p": 0.5, "ties": "keep"}, [0, 1, 2, 3], [1, 1, 1, 1]),
    # With "keep" k leaves 2 : 2 : 2, of which 0.4 takes two, and the third ties; "first" has one.
    Case("k then p, first", [1, 1, 1, 0], {"top_k": 1, "top_p": 0.4}, [0], [1], (2, 7)),
    Case(
        "k then p, keep",
        [1, 1, 1, 0],
        {"top_k": 1, "top_p": 0.4, "ties": "keep"},
        [0, 1, 2],
        [1, 1, 1],
        (6, 7),
    ),
    # M counts the three that k kept: 4 + 2 + 2 of 8, and p = 0.6 asks for 4.8, met by the second.
    Case(
        "p counts the ties that k kept",
        [2, 1, 1, 0],
        {"top_k": 2, "top_p": 0.6, "ties": "keep"},
        [0, 1, 2],
        [2, 1, 1],
        (8, 9),
    ),
    # Of 4 + 2 = 6 with "first", 0.6 asks for 3.6: the first alone.
    Case("p counts what k left", [2, 1, 1, 0], {"top_k": 2, "top_p": 0.6}, [0], [1], (4, 9)),
]
ORDER = [
    # k leaves 8 : 4 (of 12), of which 2/3 is 8: the first. Without k, 2/3 of 15 is 10: two.
    Case("k before p", [3, 2, 1, 0], {"top_k": 2, "top_p": 0.66}, [0], [1], (8, 15)),
    Case("p alone", [3, 2, 1, 0], {"top_p": 0.66}, [0, 1], [2, 1], (12, 15)),
    Case("p before min-p", [3, 2, 1, 0], {"top_p": 0.9, "min_p": 0.3}, [0, 1], [2, 1], (12, 15)),
    Case(
        "all three",
        [4, 3, 2, 1, 0],
        {"top_k": 4, "top_p": 0.9, "min_p": 0.2},
        [0, 1, 2],
        [4, 2, 1],
        (28, 31),
    ),
]
EDGES = [
    Case("one token", [7], {}, [0], [1]),
    Case("+inf takes all", [0, INF, 3], {}, [1, 2, 0], [1, 0, 0]),
    Case("+inf shares", [INF, 0, INF], {"top_p": 0.9}, [0, 2], [1, 1]),
    Case("+inf and k", [INF, 0, INF], {"top_k": 1}, [0], [1], (1, 2)),
    Case("-inf is no candidate", [-INF, 0, -INF, 1], {}, [3, 1], [2, 1]),
    Case("min-p beside +inf", [INF, 3e38, 5], {"min_p": 1e-30}, [0], [1]),
    # t = 3.4e38 is past 2^61, where all logits weigh the same; 1e30 and -1e30 too.
    Case("saturated", [3e38, 1e30, -1e30], {"min_p": 0.5}, [0, 1], [1, 1]),
    Case("greedy", [1, 3, 3, INF, INF], {"temperature": 0.0, "top_k": 2, "top_p": 0.5}, [3], [1]),
    Case("greedy with zeros", [-1, -0.0, 0.0], {"temperature": 0.0}, [1], [1]),
]
EDITS = [
    Case(
        "masked",
        [3, 2, 1, 0],
        {"allowed": [False, True, True, True], "top_k": 2},
        [1, 2],
        [2, 1],
        (6, 7),
    ),
    Case("a masked NaN", [math.nan, 2, 1], {"allowed": [False, True, True]}, [1, 2], [2, 1]),
    Case("a masked +inf", [INF, 2, 1], {"allowed": [False, True, True]}, [1, 2], [2, 1]),
    Case("bias", [0, 0, 0], {"logit_bias": [0, 2, 1]}, [1, 2, 0], [4, 2, 1]),
    Case("bias of some", [0, 0, 0], {"logit_bias": {1: 2.0}}, [1, 0, 2], [4, 1, 1]),
    Case("bias of -inf", [5, 1, 0], {"logit_bias": {0: -INF}}, [1, 2], [2, 1]),
    Case("bias of +inf", [5, 1, 0], {"logit_bias": {2: INF}}, [2, 0, 1], [1, 0, 0]),
    # 2^24 + 1 is a tie in float32 and goes to the even 2^24; + 2 is exact.
    Case("bias rounds once", [2.0**24] * 3, {"logit_bias": [1, 0, 2]}, [2, 0, 1], [4, 1, 1]),
    Case(
        "bias, then mask",
        [0, 0, 0],
        {"logit_bias": {0: INF, 1: 1.0}, "allowed": [False, True, True]},
        [1, 2],
        [2, 1],
    ),
    Case(
        "a masked NaN by bias",
        [INF, 0, 0],
        {"logit_bias": {0: -INF}, "allowed": [False, True, True]},
        [1, 2],
        [1, 1],
    ),
]
# Block 0 holds ids 0..63, block 1 ids 64..127, block 2 the rest.
SPREAD = [-INF] * 130
SPREAD[1], SPREAD[63], SPREAD[64], SPREAD[127], SPREAD[128] = 0, 2, 2, 1, 3
BLOCKS = [
    Case("over blocks", SPREAD, {}, [128, 63, 64, 127, 1], [8, 4, 4, 2, 1]),
    Case("k at a tie over blocks", SPREAD, {"top_k": 2}, [128, 63], [2, 1], (12, 19)),
    Case(
        "keep over blocks", SPREAD, {"top_k": 2, "ties": "keep"}, [128, 63, 64], [2, 1, 1], (16, 19)
    ),
    # 12/19 = 0.6316, 16/19 = 0.8421.
    Case("p over blocks", SPREAD, {"top_p": 0.64}, [128, 63, 64], [2, 1, 1], (16, 19)),
    Case("p within", SPREAD, {"top_p": 0.63}, [128, 63], [2, 1], (12, 19)),
    Case(
        "keep at p over blocks",
        SPREAD,
        {"top_p": 0.63, "ties": "keep"},
        [128, 63, 64],
        [2, 1, 1],
        (16, 19),
    ),
    Case("all equal", [1] * 150, {"top_k": 100}, list(range(100)), [1] * 100, (100, 150)),
    Case("all equal, p", [1] * 128, {"top_p": 0.75}, list(range(96)), [1] * 96, (96, 128)),
    Case("all equal, min-p", [1] * 150, {"min_p": 1.0}, list(range(150)), [1] * 150),
]
CASES = [*K, *P, *MIN_P, *TIES, *ORDER, *EDGES, *EDITS, *BLOCKS]
by_name = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


def asked(case: Case) -> tuple[torch.Tensor, dict[str, Any]]:
    return torch.tensor(case.logits, dtype=torch.float32), {"temperature": LOG2E} | case.options


@by_name
def test_oracle_answers_the_table(case):
    answer = ask_oracle(*asked(case))
    assert answer.status == 0
    assert answer.kept == case.kept
    assert answer.token in case.kept
    total = sum(case.shares)
    for i, share in zip(case.kept, case.shares, strict=True):
        # A share of 0 stands for a weight that is not 0 but far below the rest.
        assert answer.probs[i] == pytest.approx(share / total, rel=1e-7, abs=1e-12)
    num, den = case.kept_mass
    assert answer.kept_mass == pytest.approx(num / den, rel=1e-7)


@by_name
@pytest.mark.parametrize("seed", [0, 1])
def test_kernel_answers_the_table(kernel, case, seed):
    x, options = asked(case)
    options |= {"seed": seed, "position": 5}
    top = min(3, len(x))
    expected = ask_oracle(x, options, top=top)
    assert expected.kept == case.kept
    check_row(x, options, expected, top)


@by_name
def test_drawn_tokens_have_weight(case):
    """What weighs nothing beside the rest is kept, but not drawn."""
    x, options = asked(case)
    heavy = {i for i, share in zip(case.kept, case.shares, strict=True) if share > 0}
    drawn = {ask_oracle(x, options, seed=1, position=t).token for t in range(8)}
    assert drawn <= heavy
