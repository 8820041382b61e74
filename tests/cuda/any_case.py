"""Strategies of Hypothesis: any call that the binding takes."""

from typing import Any

import numpy as np
import torch
from cuda_job import OF_WEIGHTS, SHAPES, Case
from hypothesis import strategies as st
from torch import Tensor

import logits as made

INF = float("inf")
DTYPES = st.sampled_from([torch.float32, torch.float32, torch.bfloat16, torch.float16])
LENGTHS = st.one_of(
    st.integers(1, 70),
    st.sampled_from([63, 64, 65, 127, 128, 129, 255, 256, 257, 512, 640, 641]),
    st.integers(1, 700),
    st.integers(4000, 13_000),  # several thread blocks a row
)
AWKWARD = st.sampled_from([0.0, -0.0, 1.0, -1.0, 2.0, INF, -INF, 1e-40, -1e-45, 3e38, -3e38, 87.5])
WORDS = st.sampled_from([0, 1, 2**32 - 20]) | st.integers(0, 1000)
PARAMETERS: dict[str, tuple[torch.dtype, st.SearchStrategy[Any]]] = {
    "temperature": (
        torch.float32,
        st.sampled_from([0.0, 1.0, 1.0, 0.7, 1.5, 1e-3, 1e3]) | st.floats(0.0625, 4, width=32),
    ),
    "top_k": (
        torch.int64,
        st.sampled_from([0, 0, -1, -(2**40), 1, 2, 50, 64, 10**6, 2**40]) | st.integers(1, 700),
    ),
    "top_p": (
        torch.float32,
        st.sampled_from([1.0, 1.0, 2.0**-100, 0.5, 1 - 2.0**-24]) | st.floats(2**-20, 1, width=32),
    ),
    "min_p": (
        torch.float32,
        st.sampled_from([0.0, 0.0, 1.0, 0.5, 2.0**-20, 2.0**-149]) | st.floats(0, 1, width=32),
    ),
}
NOISE: dict[str, st.SearchStrategy[int]] = {
    "seed": st.sampled_from([0, -1, -(2**63), 2**63 - 1]) | st.integers(0, 2**40),
    "stream": WORDS,
    "position": WORDS,
}


def generator_of(draw: st.DrawFn) -> np.random.Generator:
    return np.random.default_rng(draw(st.integers(0, 2**32)))


@st.composite
def shapes(draw: st.DrawFn) -> tuple[int, ...]:
    vocab = draw(LENGTHS)
    match draw(st.sampled_from(["V", "BV", "BV", "BTV"])):
        case "V":
            return (vocab,)
        case "BV":
            return (draw(st.integers(1, 5)), vocab)
        case _:
            return (draw(st.integers(1, 3)), draw(st.integers(1, 3)), vocab)


def laid_out(draw: st.DrawFn, rows: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Rows [R, V] as logits of this shape: somewhere in their memory, with gaps, steps first."""
    before, gap = draw(st.integers(0, 17)), draw(st.sampled_from([0, 0, 1, 8]) | st.integers(0, 70))
    count, vocab = rows.shape
    memory = torch.full((before + count * (vocab + gap),), float("nan"), dtype=rows.dtype)
    padded = memory[before:].view(count, vocab + gap)[:, :vocab]
    padded.copy_(rows)
    if len(shape) == 3 and draw(st.booleans()):
        return padded.unflatten(0, (shape[1], shape[0])).transpose(0, 1)
    if len(shape) == 1:
        return padded[0]
    if draw(st.sampled_from([False] * 5 + [True])):  # one row for all
        return padded[:1].expand(count, vocab).unflatten(0, shape[:-1])
    return padded.unflatten(0, shape[:-1])


@st.composite
def tensors(draw: st.DrawFn) -> Tensor:
    shape = draw(shapes())
    count, vocab = torch.Size(shape[:-1]).numel(), shape[-1]
    if vocab <= 70 and draw(st.booleans()):
        size = count * vocab
        listed = draw(st.lists(st.floats(width=32) | AWKWARD, min_size=size, max_size=size))
        rows = torch.tensor(listed, dtype=torch.float32).view(count, vocab)
    else:
        kinds = st.sampled_from([*made.GOOD, *made.GOOD, "with_nan"])
        seed = draw(st.integers(0, 2**32))
        rows = torch.stack(
            [torch.from_numpy(made.make(draw(kinds), seed + r, vocab)) for r in range(count)]
        )
    return laid_out(draw, rows.to(draw(DTYPES)), shape)


def one_or_per_row(draw: st.DrawFn, dtype: torch.dtype, values: Any, batch: int) -> Any:
    if draw(st.booleans()):
        return draw(values)
    return torch.tensor(draw(st.lists(values, min_size=batch, max_size=batch)), dtype=dtype)


def masked(draw: st.DrawFn, rows: int, vocab: int) -> Tensor:
    """Bools or bits, one row for all or one each, possibly wider in memory."""
    rng = generator_of(draw)
    shape = [vocab] if draw(st.booleans()) else [rows, vocab]
    if draw(st.booleans()):
        share = draw(st.sampled_from([0.0, 0.02, 0.5, 0.98, 1.0]))
        wide = [*shape[:-1], vocab + draw(st.integers(0, 3))]
        return torch.from_numpy(rng.random(wide) < share)[..., :vocab]
    words = -(-vocab // 32) + draw(st.integers(0, 2))
    some = rng.integers(-(2**31), 2**31, [*shape[:-1], words]).astype(np.int32)
    return torch.from_numpy(some if draw(st.booleans()) else some & -65536)


def biases(draw: st.DrawFn, rows: int, vocab: int) -> Tensor:
    rng = generator_of(draw)
    shape = [vocab] if draw(st.booleans()) else [rows, vocab]
    match draw(st.sampled_from(["normal", "tied", "infinite"])):
        case "normal":
            values = rng.normal(0, 3, shape)
        case "tied":
            values = rng.integers(-1, 2, shape)
        case _:
            values = rng.choice([0, 1, -INF, INF], shape, p=[0.5, 0.2, 0.25, 0.05])
    wide = np.concatenate([values, values[..., :1]], axis=-1).astype(np.float32)
    return torch.from_numpy(wide)[..., :vocab]


def sparse_biases(draw: st.DrawFn, batch: int, vocab: int) -> tuple[Tensor, Tensor, Tensor]:
    requests = 1 if draw(st.booleans()) else batch
    ids = [sorted(draw(st.sets(st.integers(0, vocab - 1), max_size=6))) for _ in range(requests)]
    ends = np.cumsum([0, *map(len, ids)])
    values = generator_of(draw).choice([-3.5, 0.25, 9, -INF, INF], ends[-1]).astype(np.float32)
    flat = torch.tensor([i for row in ids for i in row], dtype=torch.int64)
    return torch.from_numpy(ends), flat, torch.from_numpy(values)


def wanted(draw: st.DrawFn, flags: dict[str, Any]) -> tuple[str, ...]:
    """All outputs, or a few; what is told of a token needs the token."""
    if draw(st.sampled_from([True, True, False])):
        return tuple(SHAPES)
    some = draw(st.sets(st.sampled_from(sorted(SHAPES)), min_size=1))
    if not flags.get("replacement", True) or some & {"logprob", "raw_logprob", "rank"}:
        some.add("token")
    return tuple(name for name in SHAPES if name in some)


@st.composite
def draws(draw: st.DrawFn) -> Case:
    """Logits, with any parameters, edits and outputs."""
    x = draw(tensors())
    batch, vocab = x.shape[0] if x.dim() > 1 else 1, x.shape[-1]
    case = Case(x, top=draw(st.integers(1, 9)))
    for name, (dtype, values) in PARAMETERS.items():
        case.settings[name] = one_or_per_row(draw, dtype, values, batch)
    for name, values in NOISE.items():
        case.settings[name] = one_or_per_row(draw, torch.int64, values, batch)
    case.flags = {
        "ties_keep": draw(st.booleans()),
        "row_stream": draw(st.booleans()),
        "bad_token": draw(st.integers(0, vocab - 1)),
        "num_samples": draw(st.sampled_from([1, 1, 1, 2, 5])),
        "replacement": draw(st.sampled_from([True, True, False])),
    }
    if draw(st.sampled_from([False, False, True])):
        case.allowed = masked(draw, case.rows, vocab)
    edits = draw(st.sampled_from(["none", "none", "none", "dense", "sparse", "dense and sparse"]))
    if "dense" in edits:
        case.bias = biases(draw, case.rows, vocab)
    if "sparse" in edits:
        case.sparse = sparse_biases(draw, batch, vocab)
    case.outputs = wanted(draw, case.flags)
    return case


@st.composite
def draws_by_weight(draw: st.DrawFn) -> Case:
    """Given weights, some rows with one that is negative, infinite or NaN."""
    x = draw(tensors()).float()
    some = x.abs().clone()
    some[torch.isinf(some) | torch.isnan(some)] = draw(st.sampled_from([0.0, 1e-42, 2.0, 3e38]))
    if draw(st.sampled_from([False, False, True])):
        values = [-1.0, INF, -INF, float("nan"), -0.0, 0.0]
        some[..., draw(st.integers(0, x.shape[-1] - 1))] = draw(st.sampled_from(values))
    batch = x.shape[0] if x.dim() > 1 else 1
    case = Case(some.to(draw(DTYPES)))
    for name, values in NOISE.items():
        case.settings[name] = one_or_per_row(draw, torch.int64, values, batch)
    case.flags = {
        "weights": True,
        "row_stream": draw(st.booleans()),
        "bad_token": draw(st.integers(0, x.shape[-1] - 1)),
        "num_samples": draw(st.integers(1, 5)),
        "replacement": draw(st.booleans()),
    }
    if draw(st.sampled_from([False, False, True])):
        case.allowed = masked(draw, case.rows, x.shape[-1])
    case.outputs = tuple(n for n in wanted(draw, case.flags) if n in OF_WEIGHTS) or ("token",)
    return case
