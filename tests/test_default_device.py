"""torch.set_default_device is for the user's own tensors: nothing here is made there by default."""

from collections.abc import Iterator

import pytest
import torch

import onedraw

LOGITS = torch.randn(4, 50, generator=torch.Generator().manual_seed(0))
TABLE = torch.randn(20, 20, generator=torch.Generator().manual_seed(1))
START = torch.zeros(2, 1, dtype=torch.int64)
MASK = torch.arange(20) % 3 > 0


@pytest.fixture
def elsewhere() -> Iterator[None]:
    """On meta a tensor has no values, so that one made there by default is no good for anything."""
    torch.set_default_device("meta")
    yield
    torch.set_default_device(None)


GENERATED = [
    {},
    {"min_new_tokens": 3, "eos_token_id": [3, 4]},
    {"min_new_tokens": 3, "eos_token_id": 3, "allowed": MASK},
    {"num_return_sequences": 3, "return_details": True},
    {"stream": [2, 7], "num_return_sequences": 2},
    {"max_new_tokens": [2, 4], "logit_bias": [{3: 1.0}, None]},
]


@pytest.mark.parametrize("given", GENERATED, ids=lambda given: "-".join(given) or "plain")
def test_generate(given, request):
    def run():
        settings = {"max_new_tokens": 6, "seed": 0, "temperature": 0.7, **given}
        tokens = onedraw.generate(lambda ids: TABLE[ids], START, **settings)
        return tokens.sequences if "return_details" in given else tokens

    tokens = run()
    request.getfixturevalue("elsewhere")
    assert torch.equal(run(), tokens)


def test_generate_from_lists(elsewhere):
    prompts = [[1, 2], [3, 4]]
    tokens = onedraw.generate(lambda ids: TABLE[ids], prompts, max_new_tokens=3)
    assert tokens.is_cpu
    assert tokens[:, :2].tolist() == prompts


def test_prompts_of_different_lengths(elsewhere):
    from onedraw.generate.prompts import read_prompts

    padded = read_prompts([[1, 2, 3], [4]], None, 0)
    masked = read_prompts(padded.tokens, [[1, 1, 1], [0, 0, 1]], 0)
    for prompts in (padded, masked):
        assert prompts.lengths.tolist() == [3, 1]
        assert prompts.mask.tolist() == [[1, 1, 1], [0, 0, 1]]


DRAWN = [
    {"top_k": 5},
    {"temperature": [0.5, None, 0, 2], "seed": [1, 2, 3, 4], "position": range(4)},
    {"allowed": torch.arange(50) % 2 > 0},
    {"logit_bias": {3: 2.0, 1: -1.0}},
    {"logit_bias": [None, {4: 1.0}, None, {}]},
]


@pytest.mark.parametrize("given", DRAWN, ids=lambda given: next(iter(given)))
def test_draws(given, request):
    given = {"seed": 1, "position": 0, **given}
    filters = {name: x for name, x in given.items() if name not in ("seed", "position")}

    def run():
        sampler = onedraw.Sampler(**given)
        sampler(LOGITS)
        sampler.select([2, 0])
        edited = sampler(LOGITS[:2], logit_bias={7: 1.0}, allowed=torch.ones_like(LOGITS[0]) > 0)
        sampler.reset()
        return [
            onedraw.sample(LOGITS, **given),
            onedraw.draw(LOGITS, **given, report="all", top_logprobs=2).top_logprobs,
            onedraw.kept_mask(LOGITS, **filters),
            onedraw.probs(LOGITS, **filters),
            edited,
            sampler.draw(LOGITS, report="all").logprob,
        ]

    expected = run()
    request.getfixturevalue("elsewhere")
    assert all(map(torch.equal, run(), expected))


def test_unseeded_and_multinomial(elsewhere):
    assert onedraw.sample(LOGITS).is_cpu
    assert onedraw.Sampler()(LOGITS).is_cpu
    assert onedraw.multinomial(LOGITS.abs(), 2).is_cpu
    assert onedraw.seeds(0, range(3)).is_cpu
