"""The draws inside what torch traces: compiled functions and fake tensors."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor
from torch._dynamo.testing import CompileCounter
from torch._subclasses import FakeTensorMode

import onedraw
from onedraw import operators

G = torch.Generator().manual_seed(0)
LOGITS = 3 * torch.randn(4, 90, generator=G)
MASK = torch.rand(4, 90, generator=G) < 0.7
KEYED: dict[str, Any] = {"seed": 7, "position": 3}
SETTINGS: list[dict[str, Any]] = [
    {},
    {"temperature": 0},
    {"temperature": 0.7, "top_k": 20, "top_p": 0.9, "min_p": 0.01, "ties": "keep"},
    {"temperature": [0, 0.5, 1, None], "top_k": [1, None, 7, 90]},
    {"temperature": torch.tensor([0, 0.5, 1, 2]), "top_p": torch.tensor([0.1, 0.5, 0.9, 1])},
    {"seed": torch.arange(4), "position": torch.tensor([5, 6, 7, 8]), "stream": [3, 2, 1, 0]},
    {"seed": 2**64 - 1},
    {"allowed": MASK},
    {"logit_bias": {3: 9.0, 60: float("-inf")}},
    {"logit_bias": [{3: 9.0}, None, {}, {2: 4}]},
    {"logit_bias": torch.linspace(-3, 3, 90)},
    {"params": onedraw.SamplingParams(temperature=0.5, top_k=4)},
]


@pytest.fixture(autouse=True)
def _fresh() -> Iterator[None]:
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


def compiled(function: Callable[..., Any], backend: Any = "aot_eager") -> Callable[..., Any]:
    result: Callable[..., Any] = torch.compile(function, fullgraph=True, backend=backend)
    return result


def equal(first: Any, second: Any) -> bool:
    return all(
        (a is None and b is None) or torch.equal(a, b) for a, b in zip(first, second, strict=True)
    )


@pytest.mark.parametrize("settings", SETTINGS, ids=lambda s: "-".join(s) or "none")
def test_functions(settings: dict[str, Any]) -> None:
    given = {**KEYED, **settings}
    shaped = {k: v for k, v in given.items() if k not in ("seed", "position", "stream")}

    def everything(logits: Tensor) -> Any:
        x = logits * 1
        return (
            onedraw.sample(x, **given) + 1,
            onedraw.sample(x, **given, keepdim=True),
            onedraw.kept_mask(x, **shaped),
            onedraw.probs(x, **shaped),
            *onedraw.draw(x, **given, report="all", top_logprobs=2),
            *onedraw.draw(logits=x, **given, report="rank", keepdim=True),
        )

    assert equal(compiled(everything)(LOGITS), everything(LOGITS))


def test_outputs_of_the_user() -> None:
    def written(logits: Tensor, out: Tensor, status: Tensor) -> Tensor:
        return onedraw.sample(logits, **KEYED, out=out, status_out=status) + 1

    out, status = torch.zeros(4, dtype=torch.int64), torch.full((4,), 9, dtype=torch.int32)
    token = onedraw.sample(LOGITS, **KEYED)
    assert torch.equal(compiled(written)(LOGITS, out, status), token + 1)
    assert torch.equal(out, token)
    assert not status.any()


def test_the_compiler_that_users_have() -> None:
    """Inductor, with a batch and positions that change: two graphs at most, of one and of any size."""

    def step(logits: Tensor, position: Tensor) -> Tensor:
        scores = torch.relu(logits) + logits
        return onedraw.sample(scores, temperature=0.8, top_k=9, seed=1, position=position)

    fast = torch.compile(step, fullgraph=True)
    for rows, first in ((4, 0), (4, 1), (3, 5), (2, 9)):
        position = torch.arange(first, first + rows)
        assert torch.equal(fast(LOGITS[:rows], position), step(LOGITS[:rows], position))


def test_an_unseeded_call_takes_a_seed_at_each_run() -> None:
    draw = compiled(onedraw.sample)
    torch.manual_seed(5)
    tokens = [draw(LOGITS) for _ in range(4)]
    torch.manual_seed(5)
    assert equal([onedraw.sample(LOGITS) for _ in range(4)], tokens)
    assert not torch.equal(tokens[0], tokens[1])


@pytest.mark.parametrize(
    "settings",
    [
        {"temperature": 0},
        {"temperature": 0.8, "top_p": 0.9, "seed": 4},
        {"seed": onedraw.seeds(1, range(4)), "position": torch.tensor([3, 1, 4, 1])},
        {"temperature": [0, 1, 2, 3], "seed": 4, "allowed": MASK, "logit_bias": {2: 3.0}},
    ],
)
@pytest.mark.parametrize("shape", [(4, 90), (2, 2, 90)])
def test_a_sampler_goes_on(settings: dict[str, Any], shape: tuple[int, ...]) -> None:
    """Traced and direct calls in any order are the steps of one generation."""
    x = LOGITS.view(shape)
    if len(shape) == 3:
        settings = {"temperature": 0.8, "top_p": 0.9, "seed": 4}
    direct, sampler = onedraw.Sampler(**settings), onedraw.Sampler(**settings)
    tokens = [direct(x) for _ in range(7)]
    fast = compiled(lambda logits: sampler(logits * 1) + 0)
    got = [sampler(x), fast(x), fast(x), sampler(x), fast(x), fast(x), sampler(x)]
    assert equal(got, tokens)
    assert torch.equal(
        torch.as_tensor(sampler.position).expand(len(x)),
        torch.as_tensor(direct.position).expand(len(x)),
    )


def test_records_of_a_sampler() -> None:
    direct, sampler = (onedraw.Sampler(top_k=9, seed=4) for _ in range(2))
    fast = compiled(lambda logits: sampler.draw(logits, report="all", top_logprobs=3))
    for _ in range(3):
        assert equal(fast(LOGITS), direct.draw(LOGITS, report="all", top_logprobs=3))


def test_a_step_is_compiled_once() -> None:
    """Once more than once: the position of a fresh Sampler is a number, and then a tensor."""
    counter = CompileCounter()
    sampler = onedraw.Sampler(temperature=0.8, seed=4)
    fast = compiled(lambda logits: sampler(logits + 1), counter)
    for _ in range(20):
        fast(LOGITS)
    assert counter.frame_count <= 2


def test_any_batch_is_compiled_once() -> None:
    counter = CompileCounter()

    def step(logits: Tensor, seed: Tensor, position: Tensor) -> Any:
        settings = {"temperature": 0.8, "top_p": 0.9, "seed": seed, "position": position}
        token = onedraw.sample(logits + 1, **settings)
        return token, *onedraw.draw(logits + 1, **settings, report="all")

    fast = torch.compile(step, fullgraph=True, dynamic=True, backend=counter)
    for rows in (2, 3, 5, 8, 64):
        given = torch.randn(rows, 90), torch.arange(rows), torch.arange(rows) + 7
        assert equal(fast(*given), step(*given))
    assert counter.frame_count == 1


def test_a_position_that_is_a_number_is_compiled_once() -> None:
    """Once more than once: the compiler takes a number for a constant until it sees another."""
    counter = CompileCounter()
    fast = compiled(lambda x, t: onedraw.sample(x + 1, top_k=9, seed=7, position=t), counter)
    for t in range(20):
        assert torch.equal(fast(LOGITS, t), onedraw.sample(LOGITS + 1, top_k=9, seed=7, position=t))
    assert counter.frame_count <= 2


def test_bad_rows() -> None:
    x = LOGITS.clone()
    x[2, 3] = float("nan")
    strict = onedraw.Sampler(seed=1)
    with pytest.raises(onedraw.BadRowError, match="row 2 has a NaN"):
        compiled(lambda logits: strict(logits))(x)
    assert torch.as_tensor(strict.position).max() == 0
    patient = onedraw.Sampler(seed=1, raise_on_bad=False)
    compiled(lambda logits: patient(logits))(x)
    with pytest.raises(onedraw.BadRowError, match="row 2 has a NaN"):
        patient.check()


def test_what_was_refused_is_refused() -> None:
    """By the call itself, when the graph runs, or in tracing."""
    with pytest.raises(ValueError, match=r"top_p must be in \(0, 1\], got 2.0"):
        compiled(lambda x: onedraw.sample(x, top_p=2.0, **KEYED))(LOGITS)
    with pytest.raises(ValueError, match="position must be given with seed"):
        compiled(lambda x: onedraw.sample(x, seed=2))(LOGITS)
    with pytest.raises(ValueError, match="allowed must be as wide as the logits"):
        compiled(lambda x: onedraw.sample(x, allowed=MASK[:, 1:], **KEYED))(LOGITS)
    refusals: list[tuple[Callable[[Tensor], Any], str]] = [
        (lambda x: onedraw.sample(x, generator=G), "generator must be left out"),
        (lambda x: onedraw.sample(x, temperature=True), "temperature must be"),
        (onedraw.Sampler(), "seed must be given to a Sampler whose first draw is traced"),
    ]
    for call, text in refusals:
        with pytest.raises(Exception, match=text):
            compiled(lambda x, f=call: f(x))(LOGITS)


def test_fake_tensors() -> None:
    """Shapes and dtypes, and no value."""
    real = onedraw.draw(LOGITS, **KEYED, report="all", top_logprobs=2)
    with FakeTensorMode() as mode:
        x = mode.from_tensor(LOGITS)
        for fake in (
            onedraw.draw(x, **KEYED, report="all", top_logprobs=2),
            onedraw.Sampler(seed=1).draw(x, report="all", top_logprobs=2),
        ):
            for value, expected in zip(fake, real, strict=True):
                assert (value.shape, value.dtype) == (expected.shape, expected.dtype)
        sampler = onedraw.Sampler(seed=1)
        assert sampler(x, keepdim=True).shape == (4, 1)
        assert onedraw.kept_mask(x, top_k=3).dtype is torch.bool
        assert onedraw.probs(x.view(2, 2, 90)).shape == (2, 2, 90)


@pytest.mark.parametrize(
    ("outputs", "top", "settings"),
    [
        ("token,status", 0, {"temperature": 0.8, "top_k": 4, "position": torch.arange(4)}),
        ("token,logprob,num_kept,status,rank,top_token,top_logprob", 3, {"position": 3}),
        ("kept", 0, {"top_p": torch.linspace(0.1, 1, 4)}),
        ("probs", 0, {"logit_bias": {3: 1.0}}),
    ],
)
def test_opcheck(outputs: str, top: int, settings: dict[str, Any]) -> None:
    given = operators.settings(**settings, seed=3, allowed=MASK) | {"outputs": outputs, "top": top}
    arguments = [given[name] for name in operators.ARGUMENTS]
    for x in (LOGITS, LOGITS.bfloat16()):
        torch.library.opcheck(torch.ops.onedraw.draw.default, (x, *arguments))
