"""Any call at all: a result that looks right, or a clean ValueError or TypeError; never a crash."""

import math
from typing import Any

import hypothesis
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor

import onedraw

EXAMPLES = 200
fuzz = settings(
    max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True
)

ANY_NUMBER = st.one_of(
    st.none(),
    st.integers(-3, 70),
    st.integers(-(2**70), 2**70),
    st.floats(),
    st.sampled_from([1e-6, 1e6, 1.0, 0.0, 2**32 - 1, 2**63, -1, True, "1", 1j, math.nan]),
)
GOOD: dict[str, st.SearchStrategy[Any]] = {
    "temperature": st.one_of(st.just(0), st.floats(1e-6, 10), st.none()),
    "top_k": st.one_of(st.integers(-1, 70), st.none()),
    "top_p": st.one_of(st.floats(1e-6, 1), st.none()),
    "min_p": st.one_of(st.just(0), st.floats(1e-6, 1), st.none()),
    "seed": st.integers(-(2**63), 2**64 - 1),
    "stream": st.integers(0, 2**32 - 70),
    "position": st.integers(0, 2**32 - 200),
}
FLOATS = st.sampled_from([torch.float32, torch.float16, torch.bfloat16])
DTYPES = st.sampled_from(
    [torch.float32] * 3 + [torch.float16, torch.bfloat16, torch.int64, torch.bool, torch.float64]
)
SPECIAL = [0.0, -0.0, math.inf, -math.inf, math.nan, 3e38, -3e38, 1e-45]


@st.composite
def tensors(draw: st.DrawFn, dtypes: Any = DTYPES, least: int = 0, most: int = 3) -> Tensor:
    """A small tensor of any shape, dtype and strides, most often [B, V] or near it."""
    size = st.sampled_from([1, 2, 3, 2, 3, 40, 64, 65, 130, 0])
    shape = draw(st.lists(size, min_size=least, max_size=most))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 99)))
    values = draw(st.sampled_from([0.0, 1.0, 4.0, 100.0])) * torch.randn(shape, generator=generator)
    if values.numel() and draw(st.booleans()):
        index = draw(st.integers(0, values.numel() - 1))
        values.view(-1)[index] = draw(st.sampled_from(SPECIAL))
    tensor = values.to(draw(dtypes))
    for axis in range(tensor.dim()):
        how = draw(st.sampled_from(["plain"] * 4 + ["step", "slice", "expand", "moved"]))
        if how == "step":
            tensor = torch.repeat_interleave(tensor, 2, dim=axis).index_select(
                axis, torch.arange(2 * tensor.shape[axis])
            )[(slice(None),) * axis + (slice(None, None, 2),)]
        elif how == "slice":
            tensor = torch.cat([tensor, tensor], dim=axis).narrow(axis, 0, tensor.shape[axis])
        elif how == "expand" and tensor.shape[axis] == 1:
            tensor = tensor.expand(*tensor.shape[:axis], 3, *tensor.shape[axis + 1 :])
        elif how == "moved":
            tensor = tensor.movedim(axis, 0).contiguous().movedim(0, axis)
    return tensor


ANY_ROWS = st.one_of(
    ANY_NUMBER,
    st.lists(ANY_NUMBER, max_size=4),
    tensors(st.sampled_from([torch.float32, torch.int64, torch.float64, torch.bool]), most=2),
)


def mostly_good(name: str) -> st.SearchStrategy[Any]:
    """One number or a few that may be given for this parameter, or, once in ten, anything."""
    good = GOOD[name]
    return st.integers(0, 9).flatmap(
        lambda n: ANY_ROWS if n == 9 else st.lists(good, min_size=1, max_size=3) if n > 6 else good
    )


KEYS = st.one_of(
    st.just({}),
    st.fixed_dictionaries({"seed": GOOD["seed"], "position": GOOD["position"]}),
    st.fixed_dictionaries(
        {"seed": mostly_good("seed"), "position": mostly_good("position")},
        optional={"stream": mostly_good("stream")},
    ),
    st.fixed_dictionaries({}, optional=dict.fromkeys(("seed", "stream", "position"), ANY_ROWS)),
)
TIES = st.sampled_from([None, "first", "keep", "keep", "first", "keep", "last"])
FILTERS = st.fixed_dictionaries(
    {},
    optional={
        **{name: mostly_good(name) for name in ("temperature", "top_k", "top_p", "min_p")},
        "ties": TIES,
    },
)
BIASES = st.one_of(
    st.none(),
    st.none(),
    st.dictionaries(st.just(0), st.floats(-5, 5)),
    st.dictionaries(st.integers(-1, 70), st.floats(-5, 5), max_size=4),
    st.lists(st.one_of(st.none(), st.dictionaries(st.integers(0, 4), ANY_NUMBER)), max_size=3),
    tensors(),
)


@st.composite
def masks(draw: st.DrawFn, logits: Tensor) -> Any:
    """Bools or words of bits, of the right shape or of another."""
    kind = draw(st.sampled_from(["none", "none", "bool", "bits", "row", "other"]))
    if kind == "none":
        return None
    if kind == "other":
        return draw(tensors(st.sampled_from([torch.bool, torch.int32, torch.int64])))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 99)))
    shape = list(logits.shape[-1:] if kind == "row" else logits.shape)
    if kind == "bits" and shape:
        shape[-1] = max(0, -(-shape[-1] // 32) + draw(st.integers(-1, 2)))
        return torch.randint(-(2**31), 2**31, shape, generator=generator).to(torch.int32)
    return torch.rand(shape, generator=generator) < 0.7


def check_refusal(error: Exception) -> None:
    """It names what is wrong, and is no complaint of the binding about ourselves."""
    text = str(error)
    hypothesis.event(text.split(" ", 1)[0].split("[", 1)[0])
    assert "internal" not in text
    assert " must " in text or " has " in text or " have " in text


def check_tokens(token: Any, logits: Tensor, allowed: Any, edited: bool) -> None:
    """Tokens of the right shape and range, none of them masked or at -inf."""
    assert token.dtype is torch.int64
    assert token.shape == logits.shape[:-1]
    vocab = logits.shape[-1]
    assert ((token >= 0) & (token < vocab)).all()
    if not edited and token.numel():
        chosen = logits.detach().float().gather(-1, token.unsqueeze(-1))
        assert (chosen > -math.inf).all()
    if (
        isinstance(allowed, Tensor)
        and allowed.shape == logits.shape
        and allowed.dtype is torch.bool
    ):
        assert allowed.gather(-1, token.unsqueeze(-1)).all()


@fuzz
@given(st.data())
def test_any_call(data: st.DataObject) -> None:
    logits = data.draw(st.one_of(tensors(FLOATS, least=1), tensors(FLOATS, least=2), tensors()))
    allowed = data.draw(masks(logits))
    given_bias = data.draw(BIASES)
    arguments: dict[str, Any] = {**data.draw(FILTERS), "allowed": allowed, "logit_bias": given_bias}
    keys = data.draw(KEYS)
    try:
        token = onedraw.sample(logits, **arguments, **keys)
        draw = onedraw.draw(logits, **arguments, **keys, report="all", top_logprobs=1)
        probs, kept = onedraw.probs(logits, **arguments), onedraw.kept_mask(logits, **arguments)
        sampled = onedraw.Sampler(
            **{**arguments, "position": 0, **{k: v for k, v in keys.items() if v is not None}}
        )(logits)
    except (ValueError, TypeError) as error:
        check_refusal(error)
        return
    hypothesis.event("a result")
    check_tokens(token, logits, allowed, given_bias is not None)
    check_tokens(draw.token, logits, allowed, given_bias is not None)
    check_tokens(sampled, logits, allowed, given_bias is not None)
    if keys.get("seed") is not None and None not in (
        keys["seed"] if isinstance(keys["seed"], list) else ()
    ):
        assert torch.equal(draw.token, token)
        assert torch.equal(sampled, token)
    assert torch.equal(kept.sum(-1), draw.num_kept)
    assert torch.equal(kept.sum(-1) >= 1, torch.ones(logits.shape[:-1], dtype=torch.bool))
    assert (draw.num_kept >= 1).all()
    if token.numel():
        assert torch.allclose(probs.sum(-1), torch.ones(()), atol=1e-4)
        assert kept.gather(-1, token.unsqueeze(-1)).all()
        assert (draw.logprob <= 1e-5).all()
    assert ((draw.rank >= 1) & (draw.rank <= draw.num_kept)).all()  # type: ignore[operator]


@fuzz
@given(
    weights=tensors(),
    count=st.one_of(st.integers(-1, 6), st.sampled_from([True, 1.0, None, "2", 2**70])),
    replacement=st.booleans(),
)
def test_any_multinomial(weights: Tensor, count: Any, replacement: bool) -> None:
    if weights.dtype is not torch.bool:
        weights = weights.abs()
    try:
        ids = onedraw.multinomial(weights, count, replacement)
    except (ValueError, TypeError) as error:
        check_refusal(error)
        return
    assert ids.shape == (*weights.shape[:-1], count)
    if ids.numel():
        assert (weights.to(torch.float32).gather(-1, ids) > 0).all()
        if not replacement:
            assert all(row.unique().numel() == count for row in ids.view(-1, count))


ACTIONS = st.lists(
    st.one_of(
        st.tuples(st.just("draw"), tensors(st.just(torch.float32))),
        st.tuples(st.just("same"), st.none()),
        st.tuples(st.just("select"), st.lists(st.integers(-1, 4), max_size=4)),
        st.tuples(st.just("position"), mostly_good("position")),
        st.tuples(st.just("reset"), st.integers(0, 9)),
        st.tuples(st.just("reload"), st.none()),
        st.tuples(st.just("masked"), tensors(st.sampled_from([torch.bool, torch.int32]))),
    ),
    max_size=8,
)


@fuzz
@given(FILTERS, KEYS, ACTIONS)
def test_any_life_of_a_sampler(filters: dict[str, Any], keys: dict[str, Any], actions: Any) -> None:
    logits = torch.zeros(3, 40)
    try:
        sampler = onedraw.Sampler(**filters, **{"position": 0, **keys})
    except (ValueError, TypeError):
        return
    for action, value in actions:
        try:
            if action == "draw":
                check_tokens(sampler(value), value, None, edited=False)
            elif action == "same":
                check_tokens(sampler(logits), logits, None, edited=False)
            elif action == "masked":
                check_tokens(sampler(logits, allowed=value), logits, value, edited=False)
            elif action == "select":
                sampler.select(value)
                logits = torch.zeros(len(value), 40)
            elif action == "position":
                sampler.position = value
            elif action == "reset":
                sampler.reset(value)
            else:
                sampler.load_state_dict(sampler.state_dict())
        except (ValueError, TypeError) as error:
            check_refusal(error)


@pytest.mark.parametrize("rows", [1, 2, 3, 64])
@pytest.mark.parametrize("vocab", [1, 2, 63, 64, 65, 127, 128, 129, 1023, 4097])
def test_no_kernel_reads_or_writes_past_a_row(rows: int, vocab: int, kernel: str) -> None:
    """Surrounded by NaN and by a pattern, rows give what they give alone, and the pattern stays."""
    generator = torch.Generator().manual_seed(vocab)
    for dtype in (torch.float32, torch.float16, torch.bfloat16):
        logits = torch.randn(rows, vocab, generator=generator).to(dtype)
        around = torch.full((rows + 2, vocab + 7), math.nan, dtype=dtype)
        around[1:-1, 3 : 3 + vocab] = logits
        for options in ({}, {"top_k": 5}, {"top_p": 0.9}, {"min_p": 0.1}, {"temperature": 0}):
            key: dict[str, Any] = {**options, "seed": list(range(rows)), "position": 0}
            out = torch.full((rows + 2,), -7)
            token = onedraw.sample(around[1:-1, 3 : 3 + vocab], **key, out=out[1:-1])
            assert torch.equal(token, onedraw.sample(logits, **key))
            assert out[0] == out[-1] == -7
