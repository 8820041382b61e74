"""A real model: SmolLM2-135M-Instruct, through both ways."""

import pytest
import torch
from stock import drawing

import onedraw

PROMPTS = ["The man walked the cat", "Once upon a time, in a land far away,", "In 1969"]
SEEDS = onedraw.seeds(1, range(3))
SHOWN = {"return_dict_in_generate": True, "output_scores": True, "output_logits": True}

pytestmark = pytest.mark.slow


def batch(smollm2):
    _, tokenizer = smollm2
    return tokenizer(PROMPTS, return_tensors="pt", padding=True)


@pytest.mark.parametrize(
    "options",
    [
        {"top_k": 50},
        {"temperature": 0.8, "top_k": 50, "top_p": 0.9},
        {"temperature": 0.7, "top_k": 0, "min_p": 0.05, "repetition_penalty": 1.2},
        {"top_k": 0, "top_p": 0.95, "typical_p": 0.9},
    ],
)
def test_scores_are_those_of_transformers(smollm2, options):
    model, tokenizer = smollm2
    given = {"do_sample": True, "max_new_tokens": 12, **SHOWN, **options}
    with onedraw.hf.patch(SEEDS):
        ours = model.generate(**batch(smollm2), **given)
    with drawing(ours.sequences[:, -len(ours.scores) :], tokenizer.pad_token_id):
        theirs = model.generate(**batch(smollm2), **given)
    fast = model.generate(**batch(smollm2), **given, custom_generate=onedraw.hf.FastLoop(SEEDS))
    assert torch.equal(ours.sequences, theirs.sequences)
    assert torch.equal(fast.sequences, theirs.sequences)
    for kind in ("scores", "logits"):
        for a, b, c in zip(ours[kind], theirs[kind], fast[kind], strict=True):
            assert torch.equal(a, b)
            assert torch.equal(c, b)


def test_both_ways_and_the_fast_loop_write_the_same_text(smollm2):
    model, _ = smollm2
    inputs = batch(smollm2)
    settings = {"temperature": 0.8, "top_k": 50, "top_p": 0.9}
    with onedraw.hf.patch(SEEDS):
        text = model.generate(**inputs, do_sample=True, max_new_tokens=12, **settings)
    drawer = onedraw.hf.OneDraw(
        **settings, ties="keep", seed=SEEDS, attention_mask=inputs["attention_mask"]
    )
    drawn = model.generate(**inputs, do_sample=False, max_new_tokens=12, logits_processor=[drawer])
    assert torch.equal(drawn, text)
    fast = onedraw.generate(model, **inputs, **settings, ties="keep", seed=SEEDS, max_new_tokens=12)
    assert torch.equal(fast, text)
    loop = onedraw.hf.FastLoop(SEEDS)
    given = {**inputs, **settings, "do_sample": True, "max_new_tokens": 12}
    assert torch.equal(model.generate(**given, custom_generate=loop), text)


def test_greedy_text(smollm2):
    model, tokenizer = smollm2
    greedy = {"do_sample": False, "max_new_tokens": 30}
    theirs = model.generate(**batch(smollm2), **greedy)
    with onedraw.hf.patch():
        assert torch.equal(model.generate(**batch(smollm2), **greedy), theirs)
    drawer = onedraw.hf.OneDraw(temperature=0)
    ours = model.generate(**batch(smollm2), **greedy, logits_processor=[drawer])
    assert torch.equal(ours, theirs)
    loop = onedraw.hf.FastLoop()
    assert torch.equal(model.generate(**batch(smollm2), **greedy, custom_generate=loop), theirs)
    assert tokenizer.decode(ours[0], skip_special_tokens=True).startswith(PROMPTS[0])


def test_a_request_alone_and_in_a_batch(smollm2):
    model, tokenizer = smollm2
    given = {"do_sample": True, "max_new_tokens": 12, "temperature": 0.8, "top_p": 0.9}
    with onedraw.hf.patch(SEEDS):
        text = model.generate(**batch(smollm2), **given)
    for row, prompt in enumerate(PROMPTS):
        with onedraw.hf.patch(SEEDS[row : row + 1]):
            alone = model.generate(**tokenizer(prompt, return_tensors="pt"), **given)
        assert torch.equal(alone[0], text[row, -alone.shape[1] :])
