"""A call that is refused takes no seed from the generator, and settles nothing in a Sampler."""

from typing import Any

import pytest
import torch

import onedraw

LOGITS = torch.zeros(2, 10)
NARROW = torch.ones(3, dtype=torch.bool)
ERRORS = (TypeError, ValueError)

# Each is wrong in one thing, and would take a seed if it were right.
STATELESS: list[dict[str, Any]] = [
    {"allowed": NARROW},
    {"logit_bias": {10: 1.0}},
    {"bad_token": 10},
    {"top_p": 2.0},
    {"out": torch.zeros(3, dtype=torch.int64)},
    {"status_out": torch.zeros(3, dtype=torch.int32)},
    {"seed": [1, None], "position": [0, -1]},
    {"seed": [1, None], "position": 0, "stream": [0]},
    {"seed": [1, None, None], "position": 0},
    {"seed": [None, 2**64], "position": 0},
    {"seed": [1, None]},
]


@pytest.fixture(params=["torch's own", "given"])
def source(request: pytest.FixtureRequest) -> Any:
    """The keyword for the generator, and a function to read its state."""
    if request.param == "given":
        generator = torch.Generator().manual_seed(3)
        return {"generator": generator}, generator.get_state
    return {}, torch.get_rng_state


@pytest.mark.parametrize("wrong", STATELESS)
@pytest.mark.parametrize("ask", [onedraw.sample, onedraw.draw])
def test_a_stateless_call(ask: Any, wrong: dict[str, Any], source: Any) -> None:
    keyword, state = source
    before = state()
    with pytest.raises(ERRORS):
        ask(LOGITS, **wrong, **keyword)
    assert torch.equal(state(), before)
    ask(LOGITS, **keyword)
    assert not torch.equal(state(), before)


@pytest.mark.parametrize("wrong", [{"report": "best"}, {"top_logprobs": 11}])
def test_a_record(wrong: dict[str, Any], source: Any) -> None:
    keyword, state = source
    before = state()
    with pytest.raises(ERRORS):
        onedraw.draw(LOGITS, **wrong, **keyword)
    assert torch.equal(state(), before)


def test_multinomial(source: Any) -> None:
    keyword, state = source
    before = state()
    for wrong in ({"out": torch.zeros(3)}, {"seed": [1, None], "position": [0]}):
        with pytest.raises(ERRORS):
            onedraw.multinomial(torch.ones(2, 10), 4, **wrong, **keyword)
    assert torch.equal(state(), before)


@pytest.mark.parametrize("seed", [[1, None, 2**64], [1, None, None]])
def test_a_sampler_that_is_not_made(seed: list[Any], source: Any) -> None:
    keyword, state = source
    before = state()
    with pytest.raises(ERRORS):
        onedraw.Sampler(temperature=[1.0, 1.0], seed=seed, **keyword)
    for wrong in ({"top_p": 2.0}, {"position": -1}, {"ties": "last"}, {"allowed": "all"}):
        with pytest.raises(ERRORS):
            onedraw.Sampler(seed=[1, None], **wrong, **keyword)  # type: ignore[arg-type]
    assert torch.equal(state(), before)


CALLS: list[tuple[Any, dict[str, Any]]] = [
    (torch.zeros(2, 10, dtype=torch.int64), {}),
    (torch.zeros(3, 10), {"position": [0, 1]}),
    (torch.zeros(2, 5), {"bad_token": 7}),
    (torch.zeros(2, 10), {"allowed": NARROW}),
    (torch.zeros(2, 10), {"logit_bias": [{1: 1.0}]}),
    (torch.zeros(2, 3, 10), {"position": 2**32 - 2}),
]


@pytest.mark.parametrize(("logits", "settings"), CALLS)
def test_the_first_call_of_a_sampler(logits: Any, settings: dict[str, Any], source: Any) -> None:
    keyword, state = source
    before = state()
    sampler = onedraw.Sampler(**settings, **keyword)
    for draw in (sampler, sampler.draw):
        with pytest.raises(ERRORS):
            draw(logits)
    assert torch.equal(state(), before)
    assert sampler.state_dict()["seed"] is None


@pytest.mark.parametrize("wrong", [{"allowed": NARROW}, {"logit_bias": {10: 1.0}}])
def test_edits_of_the_first_call(wrong: dict[str, Any], source: Any) -> None:
    keyword, state = source
    before = state()
    sampler = onedraw.Sampler(**keyword)
    for draw in (sampler, sampler.draw):
        with pytest.raises(ERRORS):
            draw(LOGITS, **wrong)
    with pytest.raises(ERRORS):
        sampler.draw(LOGITS, report="best")
    assert torch.equal(state(), before)
    assert sampler.state_dict()["seed"] is None
    assert sampler(torch.zeros(3, 10)).shape == (3,)  # the rows were open still
    assert not torch.equal(state(), before)


def test_the_seed_of_the_first_good_call_is_that_of_an_only_call() -> None:
    logits = torch.zeros(2, 1000)
    torch.manual_seed(4)
    expected = onedraw.Sampler()(logits)
    torch.manual_seed(4)
    sampler = onedraw.Sampler()
    with pytest.raises(ERRORS):
        sampler(logits, allowed=NARROW)
    assert torch.equal(sampler(logits), expected)


GENERATE: list[dict[str, Any]] = [
    {"ties": "last"},
    {"stream": -1, "seed": [1]},
    {"allowed": torch.ones(1, 1, 1, dtype=torch.bool)},
    {"logit_bias": [{}, {}]},
    {"top_logprobs": 3},
    {"return_details": True, "report": "best"},
    {"streamer": object()},
    {"seed": [None, 1]},
]


@pytest.mark.parametrize("wrong", GENERATE)
def test_generate(wrong: dict[str, Any], source: Any) -> None:
    keyword, state = source
    before = state()
    start = torch.zeros(1, 1, dtype=torch.int64)

    def model(tokens: torch.Tensor) -> torch.Tensor:
        return torch.zeros(*tokens.shape, 10)

    with pytest.raises(ERRORS):
        onedraw.generate(model, start, max_new_tokens=2, **wrong, **keyword)
    assert torch.equal(state(), before)
    onedraw.generate(model, start, max_new_tokens=2, **keyword)
    assert not torch.equal(state(), before)
