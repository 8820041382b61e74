"""The rounding mode of the calling thread, which some libraries change, changes no answer."""

import ctypes
import platform
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from torch import Tensor

import onedraw
from onedraw import params

# FE_DOWNWARD, FE_UPWARD and FE_TOWARDZERO of <fenv.h>
MODES = {"x86_64": (0x400, 0x800, 0xC00), "aarch64": (0x800000, 0x400000, 0xC00000)}.get(
    platform.machine(), ()
)
LOGITS = 3 * torch.randn(3, 500, generator=torch.Generator().manual_seed(0))
WEIGHTS = LOGITS.exp()
KEYED = {"seed": 3, "position": 4}


@contextmanager
def rounding(mode: int) -> Iterator[None]:
    libm = ctypes.CDLL("libm.so.6")
    assert libm.fesetround(mode) == 0
    try:
        yield
    finally:
        libm.fesetround(0)


def answers() -> list[Tensor]:
    """Of numbers that float32 rounds, in every form but a tensor, which torch would round."""
    creative = onedraw.SamplingParams(temperature=0.7, min_p=0.003)
    sampler = onedraw.Sampler(1.3, top_p=0.9, seed=3)
    return [
        onedraw.probs(LOGITS, temperature=0.7, top_p=0.99, min_p=0.001),
        onedraw.probs(LOGITS, temperature=[0.7, 1.1, 1e-6], min_p=(0.1, None, 0.3)),
        onedraw.probs(LOGITS, params=creative),
        onedraw.probs(LOGITS, params=[creative] * 3),
        onedraw.probs(LOGITS, logit_bias={3: 0.7, 4: -0.1, 5: 1e-40}),
        onedraw.probs(LOGITS, logit_bias=[{3: 0.7}, None, {5: np.float64(1.1)}]),
        onedraw.draw(LOGITS, temperature=0.7, **KEYED).logprob,
        sampler(LOGITS),
        onedraw.multinomial(WEIGHTS, 5, **KEYED),
    ]


@pytest.mark.parametrize("mode", MODES)
def test_another_rounding_mode_changes_no_answer(mode: int, kernel: str) -> None:
    expected = answers()
    params.float32.cache_clear()
    with rounding(mode):
        cast = [ctypes.c_float(x).value for x in (0.1, 0.7)]
        found = answers()
    params.float32.cache_clear()
    assert cast != [ctypes.c_float(x).value for x in (0.1, 0.7)]  # the mode was in force
    assert all(torch.equal(x, y) for x, y in zip(found, expected, strict=True))


def test_float32_is_that_of_numpy() -> None:
    some = np.random.default_rng(1)
    bits = some.integers(0, 2**64, 20_000, dtype=np.uint64)
    near = np.abs(
        some.integers(0, 2**32, 20_000, dtype=np.uint64).astype(np.uint32).view(np.float32)
    )
    near = near[near < np.finfo(np.float32).max].astype(np.float64)
    above = np.nextafter(near.astype(np.float32), np.float32(np.inf)).astype(np.float64)
    numbers = [*bits.view(np.float64).tolist(), *near.tolist(), *((near + above) / 2).tolist()]
    numbers += [0.0, -0.0, np.inf, -np.inf, 2.0**-149, 2.0**-150, 1.5 * 2.0**-150, 2.0**-126]
    largest = float(np.finfo(np.float32).max)
    numbers += [largest, largest * (1 + 2.0**-25), 2.0**128 - 2.0**103, 2.0**128, 1.7e308, 5e-324]
    with np.errstate(all="ignore"):
        for x in (*numbers, *(-x for x in numbers)):
            expected = float(np.float32(x))
            assert params.float32(x) == expected or (x != x and expected != expected), x
