"""Which warpers one draw does, and which are left to transformers."""

import pytest
from transformers import (
    EpsilonLogitsWarper,
    LogitNormalization,
    MinPLogitsWarper,
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from onedraw.hf.tail import split

T, K, P, M = (
    TemperatureLogitsWarper(0.7),
    TopKLogitsWarper(9),
    TopPLogitsWarper(0.9),
    MinPLogitsWarper(0.1),
)
OTHER, LAST = RepetitionPenaltyLogitsProcessor(1.2), LogitNormalization()
ALL = {"temperature": 0.7, "top_k": 9, "top_p": 0.9, "min_p": 0.1}


def some(*names):
    return {name: ALL[name] for name in names}


@pytest.mark.parametrize(
    ("given", "head", "settings"),
    [
        ([], 0, {}),
        ([T, K, P, M], 0, ALL),
        ([OTHER, T, K, P, M], 1, ALL),
        ([T, P], 0, some("temperature", "top_p")),
        ([K, M], 0, some("top_k", "min_p")),
        ([T, OTHER, K], 2, some("top_k")),
        ([K, T, P], 1, some("temperature", "top_p")),
        ([M, P], 1, some("top_p")),
        ([K, K], 1, some("top_k")),
        ([P, T, K, M], 1, some("temperature", "top_k", "min_p")),
        ([T, K, P, M, LAST], 5, {}),
        ([T, K, EpsilonLogitsWarper(0.1)], 3, {}),
        ([T, TopKLogitsWarper(3, min_tokens_to_keep=5)], 0, {"temperature": 0.7, "top_k": 5}),
        ([T, TopPLogitsWarper(0.9, min_tokens_to_keep=2)], 2, {}),
        ([T, MinPLogitsWarper(0.1, min_tokens_to_keep=2)], 2, {}),
        ([T, TopKLogitsWarper(3, filter_value=-1e9)], 2, {}),
        ([T, TopPLogitsWarper(0.0)], 2, {}),
        ([T, TopPLogitsWarper(1.0), MinPLogitsWarper(0)], 0, some("temperature") | {"top_p": 1.0, "min_p": 0}),
        ([TemperatureLogitsWarper(1e-7), K], 1, some("top_k")),
        ([TemperatureLogitsWarper(2e6), K], 1, some("top_k")),
    ],
)  # fmt: skip
def test_where_a_list_is_split(given, head, settings):
    assert split(given) == (given[:head], settings)


@pytest.mark.parametrize("kind", [TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper])
def test_a_subclass_is_left_alone(kind):
    warper = type("Mine", (kind,), {})(1.0 if kind is not TopKLogitsWarper else 3)
    assert split([T, warper]) == ([T, warper], {})
