"""Logits, masks and biases that cannot be read, and rows that cannot be drawn from."""

import math
import pickle
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import onedraw
from onedraw import _core

NAN, INF = math.nan, math.inf
LOGITS = torch.zeros(2, 40)
KEYED: dict[str, Any] = {"seed": 0, "position": 0}
ASK = [onedraw.sample, onedraw.draw, onedraw.kept_mask, onedraw.probs, onedraw.Sampler()]


def check(caught: pytest.ExceptionInfo[Exception], *parts: str) -> None:
    for part in parts:
        assert part in str(caught.value)


@pytest.mark.parametrize(
    ("dtype", "shown"),
    [
        (torch.int64, "int64 tensor [2, 40]"),
        (torch.bool, "bool tensor [2, 40]"),
        (torch.float64, "float64 tensor [2, 40]"),
        (torch.complex64, "complex64 tensor [2, 40]"),
        (torch.float8_e4m3fn, "float8_e4m3fn tensor [2, 40]"),
    ],
)
@pytest.mark.parametrize("ask", ASK)
def test_dtype_of_logits(ask: Any, dtype: torch.dtype, shown: str) -> None:
    with pytest.raises(TypeError) as caught:
        ask(LOGITS.to(dtype))
    check(caught, "logits must be float32, float16 or bfloat16", shown)


@pytest.mark.parametrize("ask", ASK)
def test_shape_of_logits(ask: Any) -> None:
    with pytest.raises(ValueError, match=r"logits must have 1 to 2\^22 tokens.*got float32.*2, 0"):
        ask(torch.empty(2, 0))
    with pytest.raises(ValueError, match=r"logits must have 1 to 2\^22 tokens.*1, 4194305"):
        ask(torch.zeros(1).expand(1, 2**22 + 1))
    with pytest.raises(ValueError, match=r"logits must be \[V\], \[B, V\] or \[B, T, V\], got"):
        ask(torch.tensor(1.0))
    with pytest.raises(ValueError, match=r"logits must be \[V\].*float32 tensor \[1, 1, 1, 4\]"):
        ask(torch.zeros(1, 1, 1, 4))


@pytest.mark.parametrize("given", [None, 1.0, [0.0, 1.0], "logits", object(), {"logits": LOGITS}])
@pytest.mark.parametrize("ask", ASK)
def test_logits_that_are_no_tensor(ask: Any, given: Any) -> None:
    with pytest.raises(TypeError, match="logits must be a tensor, or an array with __dlpack__"):
        ask(given)


def test_the_largest_vocabulary() -> None:
    logits = torch.zeros(2**22)
    logits[-1] = 9
    assert onedraw.sample(logits, temperature=0) == 2**22 - 1


@pytest.mark.parametrize("shape", [(3, 40), (2, 41), (2, 39), (39,), (2, 1, 40), (1, 40), (2, 0)])
def test_shape_of_allowed_and_bias(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError) as caught:
        onedraw.sample(LOGITS, allowed=torch.ones(shape, dtype=torch.bool))
    check(caught, "allowed must be", "40", f"bool tensor {list(shape)}")
    with pytest.raises(ValueError) as caught:
        onedraw.sample(LOGITS, logit_bias=torch.zeros(shape))
    check(caught, "logit_bias must be", "40", f"float32 tensor {list(shape)}")


@pytest.mark.parametrize("words", [0, 1])
def test_a_bitmask_narrower_than_the_logits_names_both_widths(words: int) -> None:
    with pytest.raises(ValueError) as caught:
        onedraw.sample(LOGITS, allowed=torch.zeros(2, words, dtype=torch.int32))
    check(caught, "allowed must have a bit for each of the 40 tokens", "2 words")
    check(caught, f"a bitmask for {32 * words} tokens, {words} words")


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int64, torch.float32])
def test_dtype_of_allowed(dtype: torch.dtype) -> None:
    with pytest.raises(TypeError) as caught:
        onedraw.sample(LOGITS, allowed=torch.ones(2, 40, dtype=dtype))
    check(caught, "allowed must be bool [..., 40] or an int32 bitmask [..., 2]", "tensor [2, 40]")


@pytest.mark.parametrize("given", [[True] * 40, {1, 2}, "all", 3, torch.tensor(True)])
def test_kind_of_allowed(given: Any) -> None:
    with pytest.raises(TypeError, match="allowed must be"):
        onedraw.sample(LOGITS, allowed=given)


@pytest.mark.parametrize(
    ("bias", "error", "parts"),
    [
        ({40: 1.0}, ValueError, ("token ids in [0, 39]", "got 40")),
        ({-1: 1.0}, ValueError, ("logit_bias", "token ids", "got -1")),
        ({2**70: 1.0}, ValueError, ("logit_bias", "token ids", "got 1180591620717411303424")),
        ({"5": 1.0}, TypeError, ("logit_bias", "token ids", "got '5'")),
        ({1.0: 1.0}, TypeError, ("logit_bias", "token ids", "got 1.0")),
        ({True: 1.0}, TypeError, ("logit_bias", "token ids", "got True (a bool)")),
        ({3: NAN}, ValueError, ("logit_bias[3]", "a number that float32 holds", "got nan")),
        ({3: 1e39}, ValueError, ("logit_bias[3]", "a number that float32 holds", "got 1e+39")),
        ({3: "1"}, TypeError, ("logit_bias[3]", "a number", "got '1'")),
        ({3: True}, TypeError, ("logit_bias[3]", "a number", "got True (a bool)")),
        ([{1: 0.0}], ValueError, ("logit_bias must have one mapping a row, 2, got 1",)),
        ([{1: 0.0}, {40: 0.0}], ValueError, ("logit_bias[1]", "[0, 39]", "got 40")),
        ([{1: 0.0}, 5], TypeError, ("logit_bias[1] must be a mapping", "got 5")),
        ("bias", TypeError, ("logit_bias must be a mapping", "got 'bias'")),
        (1.5, TypeError, ("logit_bias must be a mapping", "got 1.5")),
        (torch.zeros(2, 40).long(), TypeError, ("logit_bias", "real dtype", "int64 tensor")),
        (torch.zeros(2, 40).cfloat(), TypeError, ("logit_bias", "real dtype", "complex64 tensor")),
        (torch.tensor(1.0), ValueError, ("logit_bias", "40", "float32 tensor []")),
    ],
)
def test_logit_bias(bias: Any, error: type[Exception], parts: tuple[str, ...]) -> None:
    for ask in (lambda b: onedraw.sample(LOGITS, logit_bias=b), sampled):
        with pytest.raises(error) as caught:
            ask(bias)
        check(caught, *parts)


def sampled(bias: Any) -> Tensor:
    return onedraw.Sampler(logit_bias=bias)(LOGITS)


ROWS = torch.tensor([[0.0, 1.0], [NAN, 0.0], [-INF, -INF], [INF, 0.0]])


@pytest.mark.parametrize("ask", ASK)
def test_bad_rows_are_named_with_the_reason(ask: Any, kernel: str) -> None:
    with pytest.raises(onedraw.BadRowError) as caught:
        ask(ROWS)
    assert caught.value.rows == (1, 2)
    assert caught.value.statuses == (1, 2)
    assert str(caught.value).startswith("row 1 has a NaN; row 2 has no token left")
    assert isinstance(caught.value, ValueError)


def test_bad_rows_of_other_shapes(kernel: str) -> None:
    with pytest.raises(onedraw.BadRowError, match="row 0 has a NaN"):
        onedraw.sample(ROWS[1])
    with pytest.raises(onedraw.BadRowError, match=r"row \(0, 1\) has a NaN; row \(1, 0\) has no"):
        onedraw.sample(ROWS.view(2, 2, 2))


def test_many_bad_rows_are_counted() -> None:
    with pytest.raises(onedraw.BadRowError, match="row 7 has a NaN; and 92 more rows") as caught:
        onedraw.sample(torch.full((100, 3), NAN))
    assert len(caught.value.rows) == 100


def test_a_bad_row_error_survives_pickling() -> None:
    error = onedraw.BadRowError((1, (0, 2)), (1, 2))
    copy = pickle.loads(pickle.dumps(error))
    assert (str(copy), copy.rows, copy.statuses) == (str(error), error.rows, error.statuses)


def test_nothing_left_by_a_mask(kernel: str) -> None:
    mask = torch.tensor([[True, True], [False, False]])
    with pytest.raises(onedraw.BadRowError, match=r"row 1 has no token left .*not allowed"):
        onedraw.sample(torch.zeros(2, 2), allowed=mask)
    with pytest.raises(onedraw.BadRowError, match="row 0 has no token left"):
        onedraw.sample(torch.zeros(2), logit_bias={0: -INF, 1: -INF})


def test_a_masked_nan_is_harmless(kernel: str) -> None:
    assert onedraw.sample(ROWS[1], allowed=torch.tensor([False, True])) == 1


def test_raise_on_bad_can_be_turned_off(kernel: str) -> None:
    status = torch.full((4,), -1, dtype=torch.int32)
    asked = {**KEYED, "raise_on_bad": False, "bad_token": 1, "status_out": status}
    token = onedraw.sample(ROWS, **asked)
    assert status.tolist() == [0, 1, 2, 0]
    assert token[1:].tolist() == [1, 1, 0]
    assert token[0] == onedraw.sample(ROWS[0], **KEYED)
    draw = onedraw.draw(ROWS, **KEYED, raise_on_bad=False, report="all")
    assert draw.status.tolist() == [0, 1, 2, 0]
    with pytest.raises(onedraw.BadRowError):
        draw.check()
    onedraw.draw(ROWS[[0, 3]]).check()


def test_status_is_written_before_the_error() -> None:
    status = torch.zeros(4, dtype=torch.int32)
    with pytest.raises(onedraw.BadRowError):
        onedraw.sample(ROWS, status_out=status)
    assert status.tolist() == [0, 1, 2, 0]


def test_a_call_after_an_error_is_clean(kernel: str) -> None:
    for _ in range(10):
        with pytest.raises(onedraw.BadRowError):
            onedraw.sample(ROWS)
        onedraw.sample(ROWS[[0, 3, 0, 3]])


def test_an_empty_batch(kernel: str) -> None:
    for shape in ((0, 5), (0, 3, 5), (3, 0, 5)):
        logits = torch.empty(shape)
        assert onedraw.sample(logits).shape == shape[:-1]
        assert onedraw.sample(logits, keepdim=True).shape == (*shape[:-1], 1)
        assert onedraw.draw(logits, report="all", top_logprobs=2).top_tokens.shape == (
            *shape[:-1],
            2,
        )
        assert onedraw.probs(logits).shape == onedraw.kept_mask(logits).shape == shape
        assert onedraw.Sampler()(logits).shape == shape[:-1]
    none: list[Any] = []
    assert onedraw.sample(torch.empty(0, 5), temperature=none, seed=none, position=none).shape == (
        0,
    )
    assert onedraw.sample(torch.empty(0, 5), params=none, logit_bias=none).shape == (0,)


def test_an_unknown_kernel_is_refused_with_the_list() -> None:
    with pytest.raises(ValueError, match=r"name must be one of the kernels .*\(reference.*'sse9'"):
        _core.set_kernel("sse9")


def test_numpy_arrays_that_cannot_be_read() -> None:
    with pytest.raises(TypeError, match="logits must be an array that torch can read"):
        onedraw.sample(np.array([None, 1.0]))  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="logits must be an array that torch can read"):
        onedraw.sample(np.zeros((2, 3), dtype=">f4"))  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"logits must be float32.*got float64 tensor \[2, 3\]"):
        onedraw.sample(np.zeros((2, 3)))  # type: ignore[arg-type]
