"""Every mistake gets an error that names the parameter, what is allowed, and what was given."""

import math
from typing import Any

import numpy as np
import pytest
import torch

import onedraw

NAN, INF = math.nan, math.inf
LOGITS = torch.zeros(2, 40)

REFUSED_NUMBERS = [
    # parameter, given, error, what is allowed, how the given value is shown
    ("temperature", -0.5, ValueError, "0 (greedy) or in [1e-6, 1e6]", "-0.5"),
    ("temperature", NAN, ValueError, "[1e-6, 1e6]", "nan"),
    ("temperature", INF, ValueError, "[1e-6, 1e6]", "inf"),
    ("temperature", -INF, ValueError, "[1e-6, 1e6]", "-inf"),
    ("temperature", 1e-7, ValueError, "[1e-6, 1e6]", "1e-07"),
    ("temperature", 9.99e-7, ValueError, "[1e-6, 1e6]", "9.99e-07"),
    ("temperature", 1e-50, ValueError, "[1e-6, 1e6]", "1e-50"),
    ("temperature", 1.1e6, ValueError, "[1e-6, 1e6]", "1100000.0"),
    ("temperature", 10**400, ValueError, "[1e-6, 1e6]", "1000000"),
    ("temperature", True, TypeError, "[1e-6, 1e6]", "True (a bool)"),
    ("temperature", "1", TypeError, "[1e-6, 1e6]", "'1'"),
    ("temperature", 1j, TypeError, "[1e-6, 1e6]", "1j"),
    ("top_k", -2, ValueError, "an integer >= -1", "-2"),
    ("top_k", 2**63, ValueError, "an integer >= -1", "9223372036854775808"),
    ("top_k", 3.0, TypeError, "an integer >= -1", "3.0"),
    ("top_k", NAN, TypeError, "an integer >= -1", "nan"),
    ("top_k", "5", TypeError, "an integer >= -1", "'5'"),
    ("top_k", False, TypeError, "an integer >= -1", "False (a bool)"),
    ("top_p", 0, ValueError, "in (0, 1]", "0"),
    ("top_p", 0.0, ValueError, "in (0, 1]", "0.0"),
    ("top_p", -0.1, ValueError, "in (0, 1]", "-0.1"),
    ("top_p", 1.001, ValueError, "in (0, 1]", "1.001"),
    ("top_p", 1e-60, ValueError, "in (0, 1]", "got 1e-60, too small for float32"),
    ("top_p", NAN, ValueError, "in (0, 1]", "nan"),
    ("top_p", True, TypeError, "in (0, 1]", "True (a bool)"),
    ("min_p", -1e-3, ValueError, "in [0, 1]", "-0.001"),
    ("min_p", -1e-60, ValueError, "in [0, 1]", "-1e-60"),
    ("min_p", 1e-60, ValueError, "in [0, 1]", "got 1e-60, too small for float32"),
    ("min_p", 2.0**-150, ValueError, "in [0, 1]", "e-46, too small for float32"),
    ("min_p", 1.5, ValueError, "in [0, 1]", "1.5"),
    ("min_p", NAN, ValueError, "in [0, 1]", "nan"),
    ("min_p", np.bool_(True), TypeError, "in [0, 1]", "True (a bool)"),
    ("seed", 2**64, ValueError, "[-2^63, 2^64 - 1]", "18446744073709551616"),
    ("seed", -(2**63) - 1, ValueError, "[-2^63, 2^64 - 1]", "-9223372036854775809"),
    ("seed", 1.0, TypeError, "an integer in", "1.0"),
    ("seed", True, TypeError, "an integer in", "True (a bool)"),
    ("stream", -1, ValueError, "[0, 2^32 - 1]", "-1"),
    ("stream", 2**32, ValueError, "[0, 2^32 - 1]", "4294967296"),
    ("position", -1, ValueError, "[0, 2^32 - 1]", "-1"),
    ("position", 2**32, ValueError, "[0, 2^32 - 1]", "4294967296"),
    ("position", 0.5, TypeError, "[0, 2^32 - 1]", "0.5"),
]
KEYED = {"seed": 0, "position": 0}
refused_numbers = pytest.mark.parametrize(
    ("name", "given", "error", "allowed", "shown"), REFUSED_NUMBERS
)


def check(caught: pytest.ExceptionInfo[Exception], *parts: str) -> None:
    for part in parts:
        assert part in str(caught.value)


@refused_numbers
def test_a_number(name: str, given: Any, error: type[Exception], allowed: str, shown: str) -> None:
    with pytest.raises(error) as caught:
        onedraw.sample(LOGITS, **{**KEYED, name: given})
    check(caught, f"{name} must be", allowed, shown)
    with pytest.raises(error) as caught:
        onedraw.Sampler(**{"seed": 0, name: given})
    check(caught, f"{name} must be", allowed, shown)
    if name != "position":
        with pytest.raises(error) as caught:
            onedraw.SamplingParams(**{name: given})
        check(caught, f"{name} must be", allowed, shown)


@refused_numbers
def test_a_number_of_a_row(
    name: str, given: Any, error: type[Exception], allowed: str, shown: str
) -> None:
    good = {"seed": 0, "position": 0, "stream": 0, "top_k": 5}.get(name, 0.5)
    with pytest.raises(error) as caught:
        onedraw.sample(LOGITS, **{**KEYED, name: [good, given]})
    check(caught, f"{name}[1] must be", allowed, shown)


@pytest.mark.parametrize("name", ["temperature", "top_p", "min_p"])
@pytest.mark.parametrize("given", [-0.5, NAN, INF, 2e6])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_number_in_a_tensor(name: str, given: float, dtype: torch.dtype) -> None:
    with pytest.raises(ValueError) as caught:
        onedraw.probs(LOGITS, **{name: torch.tensor([0.5, given], dtype=dtype)})
    check(caught, f"{name}[1] must be", "got", str(given))


def test_a_tensor_of_numbers_too_small_for_float32() -> None:
    small = torch.tensor([0.5, 1e-50], dtype=torch.float64)
    with pytest.raises(ValueError, match=r"temperature\[1\] must be .* got 1e-50$"):
        onedraw.probs(LOGITS, temperature=torch.tensor([0.0, 1e-50], dtype=torch.float64))
    for name in ("top_p", "min_p"):
        with pytest.raises(
            ValueError, match=rf"{name}\[1\] must be .* 1e-50, too small for float32"
        ):
            onedraw.probs(LOGITS, **{name: small})
    with pytest.raises(ValueError, match=r"min_p\[1\] must be in \[0, 1\], got -1e-50$"):
        onedraw.probs(LOGITS, min_p=torch.tensor([0.5, -1e-50], dtype=torch.float64))


def test_the_least_numbers_that_float32_holds() -> None:
    for name in ("top_p", "min_p"):
        least = onedraw.probs(LOGITS, **{name: 2.0**-149})
        above = onedraw.probs(LOGITS, **{name: 2.0**-150 * 1.0001})  # rounded up to it
        assert torch.equal(least, above)


@pytest.mark.parametrize("name", ["top_k", "stream", "position"])
@pytest.mark.parametrize("given", [2**63, 2**64 - 2])
def test_an_unsigned_number_beyond_int64(name: str, given: int) -> None:
    beyond = torch.tensor([1, given], dtype=torch.uint64)
    for value in (beyond, beyond.numpy()):
        with pytest.raises(ValueError) as caught:
            onedraw.sample(LOGITS, **{**KEYED, name: value})
        check(caught, f"{name}[1] must be an integer", f"got {given}")
    with pytest.raises(ValueError, match=f"{name} must be an integer .* got {given}"):
        onedraw.sample(LOGITS, **{**KEYED, name: beyond[1]})


@pytest.mark.parametrize("name", ["top_k", "stream", "position"])
def test_an_integer_in_a_tensor(name: str) -> None:
    with pytest.raises(ValueError) as caught:
        onedraw.sample(LOGITS, **{**KEYED, name: torch.tensor([3, -2])})
    check(caught, f"{name}[1] must be an integer", "got -2")


@pytest.mark.parametrize(
    ("name", "dtype"),
    [
        ("temperature", torch.bool),
        ("top_p", torch.complex64),
        ("top_k", torch.float32),
        ("top_k", torch.bool),
        ("seed", torch.float64),
        ("position", torch.uint4),
        ("min_p", torch.float8_e4m3fn),
    ],
)
def test_dtype_of_a_parameter(name: str, dtype: torch.dtype) -> None:
    with pytest.raises(TypeError) as caught:
        onedraw.sample(LOGITS, **{**KEYED, name: torch.empty(2, dtype=dtype)})
    check(caught, f"{name} must be", "dtype", str(dtype).removeprefix("torch."))


@pytest.mark.parametrize(
    ("name", "given", "error", "parts"),
    [
        ("top_k", torch.tensor(2.5), TypeError, ("integer dtype", "got float32 tensor []")),
        ("top_k", torch.tensor(2.0), TypeError, ("integer dtype", "got float32 tensor []")),
        ("top_k", torch.tensor(True), TypeError, ("integer dtype", "got bool tensor []")),
        ("top_k", np.array(2.5), TypeError, ("integer dtype", "got float64 tensor []")),
        ("top_k", np.array(True), TypeError, ("integer dtype", "got bool tensor []")),
        ("top_k", torch.tensor([1, 2]), TypeError, (">= -1", "got int64 tensor [2]")),
        ("top_k", torch.tensor(-5), ValueError, (">= -1", "got -5")),
        ("top_k", torch.tensor(3, device="meta"), ValueError, ("or the cpu", "tensor on meta")),
        ("temperature", torch.tensor(True), TypeError, ("real dtype", "got bool tensor []")),
        ("temperature", torch.tensor(1j), TypeError, ("real dtype", "got complex64 tensor []")),
        ("temperature", torch.tensor([0.5]), TypeError, ("1e6]", "got float32 tensor [1]")),
        ("temperature", torch.tensor(-1.0), ValueError, ("1e6]", "got -1.0")),
        ("temperature", np.array("hot"), TypeError, ("an array that torch can read",)),
        ("seed", torch.tensor(1.0), TypeError, ("integer dtype", "got float32 tensor []")),
    ],
)
def test_a_tensor_in_a_list(
    name: str, given: Any, error: type[Exception], parts: tuple[str, ...]
) -> None:
    good = {"temperature": 0.5}.get(name, 5)
    with pytest.raises(error) as caught:
        onedraw.sample(LOGITS, **{**KEYED, name: [good, given]})
    check(caught, f"{name}[1] must be", *parts)


NAMES = ["temperature", "top_k", "top_p", "min_p", "seed", "stream", "position"]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("length", [0, 1, 3])
def test_length_of_a_parameter(name: str, length: int) -> None:
    for given in (torch.ones(length, dtype=torch.int64), [1] * length):
        with pytest.raises(ValueError) as caught:
            onedraw.sample(LOGITS, **{**KEYED, name: given})
        check(caught, f"{name} must have one value a row, 2, got {length}")


@pytest.mark.parametrize("name", NAMES)
def test_shape_and_kind_of_a_parameter(name: str) -> None:
    with pytest.raises(ValueError) as caught:
        onedraw.sample(LOGITS, **{**KEYED, name: torch.ones(2, 1, dtype=torch.int64)})
    check(caught, f"{name} must be a number or one a row", "int64 tensor [2, 1]")
    for given in ({1: 2}, object(), np.array(["a", "b"]), np.array([None, 1])):
        with pytest.raises(TypeError, match=f"{name} must be"):
            onedraw.sample(LOGITS, **{**KEYED, name: given})


@pytest.mark.parametrize("name", NAMES)
def test_device_of_a_parameter(name: str) -> None:
    with pytest.raises(ValueError) as caught:
        onedraw.sample(LOGITS, **{**KEYED, name: torch.ones(2, device="meta")})
    check(caught, f"{name} must be on the device of the logits, or the cpu", "meta")


def test_seed_without_position_and_the_reverse() -> None:
    with pytest.raises(ValueError, match=r"position must be given with seed.*no position.*seed 7"):
        onedraw.sample(LOGITS, seed=7)
    with pytest.raises(ValueError, match=r"seed must be given with position.*no seed.*position 7"):
        onedraw.sample(LOGITS, position=7)
    with pytest.raises(ValueError, match=r"seed must be given with stream.*no seed.*stream 7"):
        onedraw.sample(LOGITS, stream=7)
    with pytest.raises(ValueError, match="position must be given with seed"):
        onedraw.sample(LOGITS, params=onedraw.SamplingParams(seed=1))
    with pytest.raises(ValueError, match="seed must be given with stream"):
        onedraw.Sampler(stream=7)


def test_a_row_or_step_past_the_last() -> None:
    last = 2**32 - 1
    onedraw.sample(LOGITS[:1], seed=0, stream=last, position=last)
    onedraw.sample(LOGITS, seed=0, stream=last - 1, position=last)
    with pytest.raises(ValueError, match=r"stream must be in \[0, 2\^32 - 1\] .*4294967295 and 2"):
        onedraw.sample(LOGITS, seed=0, stream=last, position=0)
    steps = LOGITS.expand(3, 2, 40)
    with pytest.raises(ValueError, match=r"position must be in .* step, got 4294967295 and 2"):
        onedraw.sample(steps, seed=[1, 2, 3], position=last)
    with pytest.raises(ValueError, match=r"position must be in .* step, got 4294967295 and 2"):
        onedraw.sample(steps, seed=[1, 2, 3], position=[0, last, 0])


def test_generator() -> None:
    with pytest.raises(TypeError, match=r"generator must be a torch\.Generator, got 3"):
        onedraw.sample(LOGITS, generator=3)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"generator must be left out.*got both"):
        onedraw.sample(LOGITS, generator=torch.Generator(), **KEYED)
    with pytest.raises(TypeError, match="generator must be"):
        onedraw.Sampler(temperature=0, generator="cpu")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="generator must be"):
        onedraw.sample(LOGITS, temperature=0, generator=1)  # type: ignore[arg-type]


@pytest.mark.parametrize("given", ["last", "First", 1, True, ["first", "keep"]])
def test_ties(given: Any) -> None:
    for ask in (onedraw.probs, onedraw.sample):
        with pytest.raises(ValueError) as caught:
            ask(LOGITS, ties=given)
        check(caught, "ties must be 'first' or 'keep', got")
    with pytest.raises(ValueError, match="ties must be 'first' or 'keep'"):
        onedraw.Sampler(ties=given)
    with pytest.raises(ValueError, match="ties must be 'first' or 'keep'"):
        onedraw.SamplingParams(ties=given)


def test_params() -> None:
    one = onedraw.SamplingParams()
    with pytest.raises(TypeError, match=r"params must be a SamplingParams or a list.*got \{\}"):
        onedraw.sample(LOGITS, params={})  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"params\[1\] must be a SamplingParams, got None"):
        onedraw.sample(LOGITS, params=[one, None])  # type: ignore[list-item]
    for count in (0, 1, 3):
        with pytest.raises(ValueError, match=f"params must have one entry a row, 2, got {count}"):
            onedraw.sample(LOGITS, params=[one] * count)


@pytest.mark.parametrize(
    ("given", "error"), [(40, ValueError), (-1, ValueError), (1.0, TypeError), (None, TypeError)]
)
def test_bad_token(given: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match="bad_token must be a token id"):
        onedraw.sample(LOGITS, bad_token=given)


@pytest.mark.parametrize("given", [("rank", "ranks"), "ranks", 3, None, (1,), {"rank": True}])
def test_report(given: Any) -> None:
    with pytest.raises(ValueError, match="report must be 'all' or any of 'raw_logprob', 'rank'"):
        onedraw.draw(LOGITS, report=given)


def test_top_logprobs() -> None:
    with pytest.raises(ValueError, match=r"top_logprobs must be in \[0, 40\] \(V\), got 41"):
        onedraw.draw(LOGITS, top_logprobs=41)
    with pytest.raises(ValueError, match=r"top_logprobs must be an integer in \[0, V\], got -1"):
        onedraw.draw(LOGITS, top_logprobs=-1)
    with pytest.raises(TypeError, match=r"top_logprobs must be an integer .* got True"):
        onedraw.draw(LOGITS, top_logprobs=True)


@pytest.mark.parametrize("given", ["torch", "cuda", True, 1])
def test_fallback(given: Any) -> None:
    with pytest.raises(ValueError, match="fallback must be None or 'cpu', got"):
        onedraw.sample(LOGITS, fallback=given)
    with pytest.raises(ValueError, match="fallback must be None or 'cpu', got"):
        onedraw.Sampler(fallback=given)


def test_outputs() -> None:
    with pytest.raises(
        ValueError, match=r"out must be a tensor of torch.int64 and shape \[2\], got int64"
    ):
        onedraw.sample(LOGITS, out=torch.empty(3, dtype=torch.int64))
    with pytest.raises(ValueError, match=r"out must be a tensor of torch.int64 and shape \[2, 1\]"):
        onedraw.sample(LOGITS, keepdim=True, out=torch.empty(2, dtype=torch.int64))
    with pytest.raises(ValueError, match=r"out must be a tensor of .* got int32 tensor"):
        onedraw.sample(LOGITS, out=torch.empty(2, dtype=torch.int32))
    with pytest.raises(TypeError, match="out must be a tensor, got"):
        onedraw.sample(LOGITS, out=[0, 0])  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"status_out must be a tensor of torch.int32 .*got int64"):
        onedraw.sample(LOGITS, status_out=torch.empty(2, dtype=torch.int64))


OVERLAPPING = [
    ((2,), torch.empty(1, dtype=torch.int64).expand(2)),
    ((2, 1), torch.empty(1, dtype=torch.int64).expand(2, 1)),
    ((2, 3), torch.empty(3, dtype=torch.int64).expand(2, 3)),
    ((2, 3), torch.empty(9, dtype=torch.int64).as_strided((2, 3), (1, 1))),
    ((2, 3), torch.empty(9, dtype=torch.int64).as_strided((2, 3), (2, 1))),
]


@pytest.mark.parametrize(("shape", "out"), OVERLAPPING)
def test_an_output_of_which_elements_share_memory(shape: tuple[int, ...], out: Any) -> None:
    """It is refused before a seed is taken."""
    keepdim = shape == (2, 1)
    logits = LOGITS if keepdim else torch.zeros(*shape, 40)
    status = torch.empty(9, dtype=torch.int32).as_strided(shape, out.stride())
    before = torch.get_rng_state()
    for ask in (onedraw.sample, onedraw.draw):
        with pytest.raises(ValueError, match=r"^out must have memory of its own .*of strides \["):
            ask(logits, keepdim=keepdim, out=out)
        if not keepdim:
            with pytest.raises(ValueError, match=r"^status_out must have memory of its own"):
                ask(logits, status_out=status)
    assert torch.equal(torch.get_rng_state(), before)
