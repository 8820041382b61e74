"""An explicit argument wins over what the checkpoint sets, which wins over off."""

import pytest
import torch

from onedraw.generate import generate

transformers = pytest.importorskip("transformers")

PROMPT = [[1, 2, 3]]


def used(model, **options):
    run = generate(model, PROMPT, max_new_tokens=2, return_details=True, report=(), **options)
    return run.params[0]


def configure(model, **settings):
    model.generation_config = transformers.GenerationConfig(**settings)
    return model


def test_class_defaults_are_not_inherited(llama):
    params = used(llama)
    assert (params.temperature, params.top_k, params.top_p, params.min_p) == (1.0, 0, 1.0, 0.0)


def test_what_the_checkpoint_sets(llama):
    configure(llama, do_sample=True, temperature=0.5, top_k=7, top_p=0.75, min_p=0.25)
    params = used(llama)
    assert (params.temperature, params.top_k, params.top_p, params.min_p) == (0.5, 7, 0.75, 0.25)
    params = used(llama, temperature=2.0, top_p=1.0, top_k=0)
    assert (params.temperature, params.top_k, params.top_p, params.min_p) == (2.0, 0, 1.0, 0.25)


def test_for_the_requests_that_say_nothing(llama):
    configure(llama, do_sample=True, temperature=0.5)
    run = generate(
        llama, PROMPT * 2, temperature=[None, 2.0], max_new_tokens=1, return_details=True
    )
    assert [p.temperature for p in run.params] == [0.5, 2.0]


def test_do_sample_false_unless_a_sampling_argument_is_given(llama):
    configure(llama, do_sample=False)
    assert used(llama).temperature == 0
    assert used(llama, seed=3).temperature == 0
    assert used(llama, do_sample=True).temperature == 1
    assert used(llama, top_k=5).temperature == 1
    assert used(llama, temperature=0.7).temperature == pytest.approx(0.7)
    configure(llama, do_sample=True, temperature=0.5)
    assert used(llama, do_sample=False).temperature == 0


def test_lengths(llama):
    configure(llama, max_new_tokens=5)
    assert generate(llama, PROMPT).shape == (1, 8)
    assert generate(llama, PROMPT, max_new_tokens=6).shape == (1, 9)
    configure(llama, max_length=10)
    assert generate(llama, PROMPT).shape == (1, 10)


def test_of_a_length_with_the_prompt_each_request_has_its_own_rest(llama):
    configure(llama, max_length=10)
    run = generate(llama, [[1, 2, 3], [4], [5] * 12], return_details=True, pad_token_id=0)
    assert run.new_lengths.tolist() == [7, 9, 0]
    assert generate(llama, torch.empty(0, 3, dtype=torch.int64)).shape == (0, 3)


def test_end_and_pad(llama):
    bias = {9: 100.0}
    configure(llama, eos_token_id=[9, 10], pad_token_id=4)
    text = generate(llama, PROMPT, max_new_tokens=[6], logit_bias=bias)
    assert text.tolist() == [[1, 2, 3, 9]]
    assert generate(llama, PROMPT, max_new_tokens=6, logit_bias=bias, eos_token_id=[]).shape == (
        1,
        9,
    )
    assert generate(llama, PROMPT, max_new_tokens=6, logit_bias=bias, eos_token_id=8).shape == (
        1,
        9,
    )
    text = generate(llama, PROMPT * 2, max_new_tokens=3, logit_bias=[bias, {8: 100.0}])
    assert text[:, 3:].tolist() == [[9, 4, 4], [8, 8, 8]]
    configure(llama, eos_token_id=9, min_new_tokens=2)
    assert generate(llama, PROMPT, max_new_tokens=6, logit_bias=bias).shape == (1, 6)


def test_stop_strings_need_the_tokenizer(llama, letters):
    configure(llama, stop_strings=["stop"])
    with pytest.raises(ValueError, match="tokenizer must be given"):
        generate(llama, PROMPT, max_new_tokens=2)
    assert generate(llama, PROMPT, max_new_tokens=2, stop_strings=[]).shape == (1, 5)
    assert generate(llama, PROMPT, max_new_tokens=2, tokenizer=letters).shape[0] == 1


def test_what_is_not_applied_is_said(llama):
    configure(llama, repetition_penalty=1.2, num_beams=1)
    with pytest.warns(UserWarning, match=r"repetition_penalty=1.2, which onedraw"):
        generate(llama, PROMPT, max_new_tokens=2)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("min_length", 5),
        ("exponential_decay_length_penalty", (5, 1.5)),
        ("remove_invalid_values", True),
        ("max_time", 10.0),
        ("token_healing", True),
        ("constraints", [[1]]),
        ("force_words_ids", [[1]]),
        ("dola_layers", "high"),
    ],
)
def test_every_setting_that_changes_the_text_is_said(llama, name, value):
    setattr(llama.generation_config, name, value)
    with pytest.warns(UserWarning, match=f"{name}=.*which onedraw.generate does not apply"):
        generate(llama, PROMPT, max_new_tokens=2)


def test_a_setting_that_changes_no_text_is_not_said(llama):
    off = {"min_length": 0, "remove_invalid_values": False, "token_healing": False}
    configure(llama, **off, renormalize_logits=True, use_cache=True)
    generate(llama, PROMPT, max_new_tokens=2)


def test_a_plain_network_has_no_checkpoint():
    network = torch.nn.Sequential(torch.nn.Embedding(8, 8), torch.nn.Linear(8, 8))
    assert generate(network, PROMPT, max_new_tokens=2, seed=0).shape == (1, 5)
