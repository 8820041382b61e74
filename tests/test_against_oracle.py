"""Random rows and parameters: every kernel answers what the oracle answers."""

import itertools
import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

import compiled
import logits as rows
import onedraw
import oracle
from answers import ask_oracle, check_row
from onedraw import _core
from oracle.exact import f32
from oracle.tokens import LOG2E

INF = math.inf

# Strategies

lengths = st.one_of(
    st.integers(1, 70),
    st.sampled_from([63, 64, 65, 127, 128, 129, 191, 256, 640, 641]),
    st.integers(1, 700),
)
float32 = st.floats(width=32, allow_nan=False)
awkward = st.sampled_from([0.0, -0.0, 1.0, -1.0, 2.0, INF, -INF, 1e-40, 3e38, -3e38, 87.5])
dtypes = st.sampled_from([torch.float32, torch.float32, torch.bfloat16, torch.float16])


@st.composite
def made_rows(draw: st.DrawFn) -> torch.Tensor:
    """A row [V] of a kind that `logits.py` knows, in any dtype."""
    kind = draw(st.sampled_from([*rows.GOOD, *rows.GOOD, "with_nan"]))
    x = torch.from_numpy(rows.make(kind, draw(st.integers(0, 2**32)), draw(lengths)))
    return x.to(draw(dtypes))


# A row spelled out, which Hypothesis can make small.
listed_rows = st.lists(float32 | awkward, min_size=1, max_size=80).map(
    lambda x: torch.tensor(x, dtype=torch.float32)
)
any_row = st.one_of(made_rows(), made_rows(), listed_rows)

# The smallest temperature is 1e-6; LOG2E makes the scale 1, so that shares can be whole.
temperatures = st.sampled_from([None, 0.0, 1.0, 0.7, LOG2E, 1.5, 1e-6, 1e-3, 1e3, 1e6]) | st.floats(
    0.05, 4
)
top_ks = st.sampled_from([None, None, 0, -1, 1, 2, 50, 10**6]) | st.integers(1, 100)
top_ps = st.one_of(
    st.sampled_from([None, None, 1.0, 1e-30, 0.5, 0.9, 1 - 2.0**-24, 1 - 2.0**-23]),
    st.integers(1, 64).map(lambda n: n / 64),
    st.floats(1e-6, 1),
)
min_ps = st.sampled_from([None, None, 0.0, 1.0, 0.5, 0.1, 2.0**-20, 2.0**-149]) | st.floats(
    0, 1
).map(f32)
seeds = st.sampled_from([0, -1, 2**64 - 1, -(2**63)]) | st.integers(0, 2**32)
words = st.sampled_from([0, 1, 2**32 - 1]) | st.integers(0, 1000)


@st.composite
def options_for(draw: st.DrawFn, v: int) -> dict[str, Any]:
    """Everything that `sample` takes for a row of v tokens; masks and biases mostly absent."""
    options = {
        "temperature": draw(temperatures),
        "top_k": draw(top_ks),
        "top_p": draw(top_ps),
        "min_p": draw(min_ps),
        "ties": draw(st.sampled_from(["first", "keep"])),
        "seed": draw(seeds),
        "stream": draw(words),
        "position": draw(words),
        "bad_token": draw(st.integers(0, v - 1)),
    }
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    share = draw(st.sampled_from([None, None, None, 0.0, 0.02, 0.5, 0.98, 1.0]))
    if share is not None:
        options["allowed"] = (rng.random(v) < share).tolist()
    match draw(st.sampled_from(["none", "none", "some", "dense", "tied", "infinite"])):
        case "some":
            options["logit_bias"] = draw(
                st.dictionaries(st.integers(0, v - 1), float32.map(f32), max_size=6)
            )
        case "dense":
            options["logit_bias"] = rng.normal(0, 3, v).astype(np.float32).tolist()
        case "tied":
            options["logit_bias"] = rng.integers(-1, 2, v).astype(np.float32).tolist()
        case "infinite":
            options["logit_bias"] = rng.choice(np.float32([0, 1, -INF]), v).tolist()
    return options


@st.composite
def cases(draw: st.DrawFn) -> tuple[torch.Tensor, dict[str, Any]]:
    x = draw(any_row)
    return x, draw(options_for(len(x)))


def bits_equal(a: onedraw.Draw, b: onedraw.Draw) -> bool:
    return all(
        (x is None and y is None) or np.array_equal(x.numpy(), y.numpy(), equal_nan=True)
        for x, y in zip(a, b, strict=True)
    )


# One row


@settings(max_examples=400, deadline=None)
@given(cases(), st.integers(0, 9), st.booleans())
def test_a_row(case, top, bitmask):
    x, options = case
    top = min(top, len(x))
    expected = ask_oracle(x, options, top=top)
    draws = []
    for name in compiled.SUPPORTED:
        with compiled.forced(name):
            draws.append(check_row(x, options, expected, top, bitmask))
    assert all(bits_equal(draws[0], draw) for draw in draws[1:])


# A batch: parameters one a row, views with gaps between the rows

FLOATS = {
    "temperature": st.sampled_from([0.0, 0.5, 1.0, 2.0]),
    "top_p": st.sampled_from([1.0, 0.5, 0.95]),
    "min_p": st.sampled_from([0.0, 0.1, 1.0]),
}
INTEGERS = {"top_k": st.sampled_from([0, -1, 1, 3, 200]), "position": st.integers(0, 1000)}
NOISE = {"seed": st.integers(-(2**63), 2**63 - 1), "stream": st.integers(0, 1000)}


@st.composite
def batches(draw: st.DrawFn, names: dict[str, st.SearchStrategy[Any]]):
    """Logits [B, T, V], a view of wider rows, and a list [B] of values for each of the names."""
    b, t, v = draw(st.integers(1, 4)), draw(st.integers(1, 3)), draw(st.integers(1, 140))
    seed = draw(st.integers(0, 2**32))
    wide = torch.from_numpy(rows.make(draw(st.sampled_from([*rows.GOOD])), seed, b * t * (v + 3)))
    x = wide.view(b, t, v + 3)[:, :, 1 : v + 1].to(draw(dtypes))
    return x, {
        name: draw(st.lists(values, min_size=b, max_size=b)) for name, values in names.items()
    }


def check_batch(x: torch.Tensor, options: dict[str, list[Any]], **common: Any) -> None:
    """Row (i, j) draws with the parameters of request i, at position[i] + j."""
    one_seed = "seed" in common
    tensors = {
        name: torch.tensor(values, dtype=torch.float32 if name in FLOATS else torch.int64)
        for name, values in options.items()
    }
    expected = {}
    for i, j in itertools.product(range(x.shape[0]), range(x.shape[1])):
        own = {name: values[i] for name, values in options.items()} | common
        own["position"] += j
        own["stream"] += i if one_seed else 0
        expected[i, j] = ask_oracle(x[i, j], own)
    for name in compiled.SUPPORTED:
        with compiled.forced(name):
            draw = onedraw.draw(x, **tensors, **common, raise_on_bad=False, report="rank")
        for at, answer in expected.items():
            assert draw.status[at] == answer.status
            assert draw.token[at] == answer.token
            if answer.status == oracle.OK:
                assert draw.num_kept[at] == answer.num_kept
                assert draw.rank[at] == answer.rank


@settings(max_examples=60, deadline=None)
@given(batches(FLOATS | INTEGERS | NOISE), st.sampled_from(["first", "keep"]))
def test_a_batch_with_a_seed_each(batch, ties):
    check_batch(*batch, ties=ties)


@settings(max_examples=60, deadline=None)
@given(batches(FLOATS | INTEGERS), seeds, st.integers(0, 1000))
def test_a_batch_with_one_seed_gives_a_stream_each(batch, seed, stream):
    check_batch(*batch, seed=seed, stream=stream)


# Several samples


def several(x: torch.Tensor, n: int, replacement: bool, weights: bool, **set_to: Any):
    """Tokens [n] and status of one row, from the core itself."""
    job = _core.Job()
    job.num_samples, job.replacement, job.weights = n, replacement, weights
    for name, value in set_to.items():
        job.set(name, value)
    tokens, status = torch.empty(n, dtype=torch.int64), torch.empty((), dtype=torch.int32)
    job.output("token", tokens)
    job.output("status", status)
    job.run(x)
    return tokens.tolist(), status.item()


@settings(max_examples=100, deadline=None)
@given(any_row, st.integers(1, 12), st.booleans(), top_ks, seeds)
def test_several_samples_of_logits(x, n, replacement, top_k, seed):
    expected = oracle.row(
        x.float().tolist(), top_k=top_k, seed=seed, num_samples=n, replacement=replacement
    )
    for name in compiled.SUPPORTED:
        with compiled.forced(name):
            tokens, status = several(x, n, replacement, False, top_k=top_k or 0, seed=seed)
        assert (tokens, status) == (expected.tokens, expected.status)


positive = st.one_of(
    st.floats(0, 1, width=32),
    st.floats(0, width=32, allow_infinity=False),
    st.sampled_from([0.0, -0.0, 0.5, 1.0, 2.0**-149, 2.0**-126, 3e38]),
)
weight_rows = st.one_of(
    st.lists(positive, min_size=1, max_size=80),
    st.lists(positive, min_size=1, max_size=80),
    st.lists(float32, min_size=1, max_size=20),
    made_rows().map(lambda x: x.float().nan_to_num().clamp(-80, 80).exp().tolist()),
)


@settings(max_examples=150, deadline=None)
@given(weight_rows, st.integers(1, 12), st.booleans(), seeds, words, words)
@example([1.0, -INF], 1, True, 0, 0, 0)
def test_multinomial(weights, n, replacement, seed, stream, position):
    common = {"seed": seed, "stream": stream, "position": position}
    x = torch.tensor(weights, dtype=torch.float32)
    expected = oracle.row(
        x.tolist(), num_samples=n, replacement=replacement, weights=True, **common
    )
    for name in compiled.SUPPORTED:
        with compiled.forced(name):
            got = several(x, n, replacement, True, **common)
            assert got == (expected.tokens, expected.status)
            if expected.status == oracle.OK:
                assert onedraw.multinomial(x, n, replacement, **common).tolist() == got[0]
            else:
                with pytest.raises(ValueError):
                    onedraw.multinomial(x, n, replacement, **common)
