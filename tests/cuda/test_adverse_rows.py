"""Rows that a selection can stumble over, at the vocabulary of a model and at the largest."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

sys.path.append(str(Path(__file__).parent))

from cuda_job import SHAPES, Case, differences

import logits as made

INF = np.inf
F32 = np.float32


def ramp(rng: np.random.Generator, v: int) -> np.ndarray:
    return np.linspace(-20, 5, v, dtype=F32)


def falling(rng: np.random.Generator, v: int) -> np.ndarray:
    return ramp(rng, v)[::-1].copy()


def denormal(rng: np.random.Generator, v: int) -> np.ndarray:
    return (rng.integers(-9, 10, v) * F32(1e-45)).astype(F32)


def two_levels(rng: np.random.Generator, v: int) -> np.ndarray:
    """Half of the tokens at one value, half a step of float32 below."""
    return np.where(rng.random(v) < 0.5, F32(1), np.nextafter(F32(1), F32(0))).astype(F32)


def one_candidate(rng: np.random.Generator, v: int) -> np.ndarray:
    x = np.full(v, -INF, F32)
    x[-1] = -3e38
    return x


def huge(rng: np.random.Generator, v: int) -> np.ndarray:
    x = rng.normal(0, 1e37, v).astype(F32)
    x[rng.integers(v)] = 3.4e38
    return x


def all_inf(rng: np.random.Generator, v: int) -> np.ndarray:
    return np.full(v, INF, F32)


def nothing(rng: np.random.Generator, v: int) -> np.ndarray:
    return np.full(v, -INF, F32)


def nan_last(rng: np.random.Generator, v: int) -> np.ndarray:
    x = made.lm_like(rng, v)
    x[-1] = np.nan
    return x


ROWS = {
    f.__name__: f
    for f in (
        *made.KINDS.values(),
        *(ramp, falling, denormal, two_levels, one_candidate, huge, all_inf, nothing, nan_last),
    )
}
SETTINGS: dict[str, dict[str, Any]] = {
    "greedy": {"temperature": 0.0},
    "temperature": {"temperature": 0.7},
    "cold": {"temperature": 1e-6, "top_p": 0.9},
    "hot": {"temperature": 1e6, "top_p": 0.9},
    "top_k": {"top_k": 50},
    "top_k, ties kept": {"top_k": 50, "ties_keep": True},
    "top_p": {"top_p": 0.9},
    "top_p, ties kept": {"top_p": 0.9, "ties_keep": True},
    "tiny top_p": {"top_p": 1e-9},
    "large top_k, top_p": {"top_k": 5000, "top_p": 0.999},
    "min_p": {"min_p": 0.05},
    "all": {"temperature": 0.8, "top_k": 40, "top_p": 0.95, "min_p": 0.02},
}
DTYPE = {"bfloat16_tied": torch.bfloat16, "few_values": torch.float16}


def case_of(kind: str, names: str, vocab: int, outputs: tuple[str, ...] = tuple(SHAPES)) -> Case:
    x = torch.from_numpy(ROWS[kind](np.random.default_rng([7, vocab]), vocab))
    settings = {"seed": 11, "position": 5, **SETTINGS[names]}
    flags = {"ties_keep": settings.pop("ties_keep", False)}
    return Case(x.to(DTYPE.get(kind, torch.float32)), settings, flags, outputs=outputs)


@pytest.mark.parametrize("names", SETTINGS)
@pytest.mark.parametrize("kind", ROWS)
def test_a_row(device, kind, names):
    assert not differences(case_of(kind, names, 6007), device)


@pytest.mark.parametrize("names", ["top_p", "all"])
@pytest.mark.parametrize("kind", ROWS)
def test_a_row_of_a_model(device, kind, names):
    assert not differences(case_of(kind, names, 128_256), device)


@pytest.mark.parametrize(
    ("kind", "names", "vocab"),
    [
        ("lm_like", "all", 1 << 20),
        ("bfloat16_tied", "top_k", (1 << 20) + 3),
        ("mostly_inf", "top_p", (1 << 21) - 1),
        ("all_equal", "top_k, ties kept", (1 << 22) - 63),
        ("bfloat16_tied", "top_p", 1 << 22),
        ("lm_like", "temperature", 1 << 22),
    ],
)
def test_the_largest_rows(device, kind, names, vocab):
    few = ("token", "status", "logprob", "rank", "num_kept", "kept_mass", "top_token")
    assert not differences(case_of(kind, names, vocab, few), device)


@pytest.mark.parametrize("kind", ["flat", "all_equal", "bfloat16_tied", "lm_like"])
def test_many_samples_without_replacement(device, kind):
    case = case_of(kind, "top_k", 20_011, ("token", "status", "num_kept"))
    case.flags |= {"num_samples": 20, "replacement": False}
    assert not differences(case, device)


@pytest.mark.parametrize("value", [0.0, -0.0, 1e-45, 3.4e38, 1.0])
def test_equal_weights(device, value):
    case = Case(torch.full((2, 5000), value), {"seed": 3, "position": 1}, {"weights": True})
    case.flags |= {"num_samples": 4, "replacement": False}
    assert not differences(case, device)
