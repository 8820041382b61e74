"""Sampling parameters: one for all, one a request, as keywords or as SamplingParams."""

import pytest
import torch
from toys import VOCAB

import onedraw
from onedraw import SamplingParams
from onedraw.generate import generate

PROMPTS = [[1, 2], [3, 4], [5, 6]]
SEEDS = onedraw.seeds(0, range(3))


@pytest.mark.parametrize("make", [list, torch.tensor, lambda values: torch.tensor(values).numpy()])
def test_one_value_a_request(toy, make):
    text = generate(
        toy,
        PROMPTS,
        max_new_tokens=9,
        seed=0,
        temperature=make([0.0, 0.5, 2.0]),
        top_k=make([0, 3, 10]),
    )
    for row, (temperature, top_k) in enumerate([(0.0, 0), (0.5, 3), (2.0, 10)]):
        alone = generate(
            toy,
            PROMPTS[row],
            max_new_tokens=9,
            temperature=temperature,
            top_k=top_k,
            seed=SEEDS[row : row + 1],
        )
        assert torch.equal(alone[0], text[row])


def test_params_one_for_all(toy):
    params = SamplingParams(temperature=0.8, top_p=0.9)
    text = generate(toy, PROMPTS, params, max_new_tokens=9, seed=0)
    assert torch.equal(
        text, generate(toy, PROMPTS, max_new_tokens=9, seed=0, temperature=0.8, top_p=0.9)
    )
    hot = generate(toy, PROMPTS, params, temperature=1.5, max_new_tokens=9, seed=0)
    assert torch.equal(
        hot, generate(toy, PROMPTS, max_new_tokens=9, seed=0, temperature=1.5, top_p=0.9)
    )


def test_params_one_a_request(toy):
    params = [
        SamplingParams(temperature=0),
        SamplingParams(top_k=4, seed=5),
        SamplingParams(min_p=0.1),
    ]
    text = generate(toy, PROMPTS, params, max_new_tokens=9)
    assert torch.equal(text[0], generate(toy, PROMPTS[0], max_new_tokens=9, temperature=0)[0])
    assert torch.equal(text[1], generate(toy, PROMPTS[1], max_new_tokens=9, top_k=4, seed=[5])[0])


def test_parameters_go_along_with_the_samples(toy):
    text = generate(
        toy, PROMPTS, max_new_tokens=6, temperature=[0, 1, 1], seed=0, num_return_sequences=2
    )
    assert torch.equal(text[0], text[1])
    assert not torch.equal(text[2], text[3])


def test_allowed_and_bias_one_a_request(toy):
    allowed = torch.zeros(3, VOCAB, dtype=torch.bool)
    for row in range(3):
        allowed[row, 10 * row : 10 * row + 10] = True
    bias = [{0: 100.0}, None, {25: 100.0}]
    text = generate(
        toy,
        PROMPTS,
        max_new_tokens=5,
        allowed=allowed,
        logit_bias=bias,
        seed=0,
        num_return_sequences=2,
    )
    new = text[:, 2:]
    assert (new[:2] == 0).all()
    assert ((new[2:4] >= 10) & (new[2:4] < 20)).all()
    assert (new[4:] == 25).all()


def test_bitmask_and_dense_bias(toy):
    words = torch.zeros(2, dtype=torch.int32)
    words[1] = 0b110  # tokens 33 and 34
    bias = torch.zeros(VOCAB)
    bias[33] = 50
    text = generate(toy, PROMPTS, max_new_tokens=5, allowed=words, logit_bias=bias, seed=0)
    assert (text[:, 2:] == 33).all()


def test_do_sample_false_is_greedy(toy):
    text = generate(toy, PROMPTS, max_new_tokens=5, do_sample=False)
    assert torch.equal(text, generate(toy, PROMPTS, max_new_tokens=5, temperature=0))
    assert generate(toy, PROMPTS, max_new_tokens=5, do_sample=True, temperature=0.7).shape == (3, 7)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"temperature": [1.0, 2.0]}, "temperature must have one value a request, 3, got 2"),
        ({"top_k": torch.tensor([1])}, "top_k must have one value a request, 3, got 1"),
        ({"seed": [1, 2]}, "seed must have one value a request, 3, got 2"),
        ({"seed": 0, "stream": [1, 2]}, "stream must have one value a request, 3, got 2"),
        ({"params": [SamplingParams()]}, "params must have one entry a request, 3, got 1"),
        ({"temperature": -1}, "temperature must be"),
        ({"temperature": [1, 1, float("nan")]}, r"temperature\[2\] must be"),
        ({"top_p": 0}, "top_p must be"),
        ({"min_p": 2}, "min_p must be"),
        ({"ties": "last"}, "ties must be"),
        ({"do_sample": False, "top_k": 3}, "do_sample must be left out, or True, where top_k"),
        ({"seed": 2**64}, "seed must be"),
        ({"seed": 0, "generator": torch.Generator()}, "generator must be left out"),
        ({"stream": 1}, "seed must be given with stream"),
        (
            {"allowed": torch.ones(2, VOCAB, dtype=torch.bool)},
            r"allowed must be bool \[V\] or \[3, V\]",
        ),
        ({"allowed": torch.ones(4, dtype=torch.bool)}, "allowed must be as wide as the logits"),
        ({"logit_bias": [{}, {}]}, "logit_bias must have one mapping a request, 3, got 2"),
        ({"logit_bias": torch.zeros(2, VOCAB)}, "logit_bias must be a mapping, a list of 3"),
        ({"logit_bias": {VOCAB: 1.0}}, "logit_bias must have token ids in"),
    ],
)
def test_refused(toy, options, message):
    with pytest.raises(ValueError, match=message):
        generate(toy, PROMPTS, max_new_tokens=2, **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"temperature": True}, "temperature must be"),
        ({"do_sample": 1}, "do_sample must be"),
        ({"params": {"top_k": 3}}, "params must be"),
    ],
)
def test_wrong_type(toy, options, message):
    with pytest.raises(TypeError, match=message):
        generate(toy, PROMPTS, max_new_tokens=2, **options)
