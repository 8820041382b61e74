"""What FastLoop does not do is an error that says so, and what does it."""

import functools

import options
import pytest
import torch
import transformers
from networks import prompts
from test_fast_loop import SHOWN, write

from onedraw.generate.huggingface import CACHE_NAMES, forward_parameters
from onedraw.hf import FastLoop


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (lambda: {"num_beams": 2}, "num_beams must be left out with FastLoop, got 2: beam s"),
        (lambda: {"num_beams": 2, "do_sample": False}, "num_beams must be left out"),
        (lambda: {"prompt_lookup_num_tokens": 2}, "assisted_generation must be left out"),
        (lambda: {"streamer": options.Recorded()}, r"streamer .*FastLoop\(streamer=...\) takes it"),
        (lambda: {"synced_gpus": True}, "synced_gpus must be left out"),
        (lambda: {"cache_implementation": "static"}, "cache_implementation .* got 'static'"),
        (lambda: {"use_cache": False}, "use_cache must be left out"),
        (lambda: {"prefill_chunk_size": 2}, "prefill_chunk_size must be left out"),
        (lambda: {"output_attentions": True, **SHOWN}, "output_attentions must be left out"),
        (lambda: {"output_hidden_states": True, **SHOWN}, "output_hidden_states must be left"),
        (
            lambda: {"position_ids": torch.arange(6).expand(3, 6)},
            "position_ids must be left out",
        ),
        (
            lambda: {"stopping_criteria": [lambda input_ids, scores, **kwargs: None]},
            "stopping_criteria must give a bool tensor",
        ),
    ],
)
def test_refused(llama, given, says):
    with pytest.raises(ValueError, match=says) as caught:
        write(llama, **given(), custom_generate=FastLoop(seed=1))
    assert "stopping_criteria" in says or "onedraw.hf.patch" in str(caught.value)


def test_a_cache_is_refused(llama):
    name = next(name for name in CACHE_NAMES if name in forward_parameters(llama))
    with pytest.raises(ValueError, match=f"{name} must be left out with FastLoop, got 'Dynamic"):
        write(llama, **{name: transformers.DynamicCache()}, custom_generate=FastLoop(seed=1))


def test_an_assistant_is_refused(llama, made):
    one = {name: value[1:2] for name, value in prompts(llama).items()}
    with pytest.raises(ValueError, match=r"left out with FastLoop.*onedraw\.hf\.patch"):
        write(llama, one, assistant_model=made["llama"], custom_generate=FastLoop(seed=1))


def test_embeddings_and_other_inputs_are_refused(llama):
    inputs = prompts(llama)
    embeds = {
        "inputs_embeds": llama.get_input_embeddings()(inputs["input_ids"]),
        "attention_mask": inputs["attention_mask"],
    }
    with pytest.raises(ValueError, match="inputs_embeds must be left out with FastLoop"):
        write(llama, embeds, custom_generate=FastLoop(seed=1))
    right = inputs | {"attention_mask": inputs["attention_mask"].flip(1)}
    with pytest.raises(ValueError, match="attention_mask must be 0 on the left only"):
        write(llama, right, custom_generate=FastLoop(seed=1))


@pytest.mark.parametrize("kind", ["t5", "bart"])
def test_an_encoder_is_refused(made, kind):
    with pytest.raises(ValueError, match=r"FastLoop is for decoders .* it has an encoder"):
        write(made[kind], custom_generate=FastLoop(seed=1))


@pytest.mark.parametrize("name", ["_sample", "prepare_inputs_for_generation"])
def test_a_model_with_a_loop_of_its_own_is_refused(llama, monkeypatch, name):
    theirs = getattr(type(llama), name)

    @functools.wraps(theirs)
    def mine(self, *args, **given):
        return theirs(self, *args, **given)

    monkeypatch.setattr(type(llama), name, mine)
    with pytest.raises(ValueError, match=f"it has a {name} of its own"):
        write(llama, custom_generate=FastLoop(seed=1))


def test_bad_arguments(llama):
    for given, error, says in [
        ({"seed": "1"}, TypeError, "seed must be an integer"),
        ({"seed": 1, "generator": torch.Generator()}, ValueError, "generator must be left out"),
        ({"generator": 1}, TypeError, "generator must be a torch.Generator"),
        ({"fallback": "gpu"}, ValueError, "fallback must be"),
        ({"streamer": print}, TypeError, "streamer must have put"),
        ({"look_every": 0}, ValueError, "look_every must be an integer >= 1"),
    ]:
        with pytest.raises(error, match=says):
            FastLoop(**given)
    with pytest.raises(ValueError, match="seed must have one value a row, 3, got 2"):
        write(llama, custom_generate=FastLoop([1, 2]))
    with pytest.raises(RuntimeError, match=r"was called by something else"):
        FastLoop(1)(llama, torch.ones(1, 2, dtype=torch.int64), [], [], llama.generation_config)


@pytest.mark.parametrize("version", ["4.57.6", "5.1.0"])
def test_an_old_version_is_refused(monkeypatch, version):
    monkeypatch.setattr(transformers, "__version__", version)
    with pytest.raises(RuntimeError, match=r"FastLoop needs transformers 5\.2 or later, got"):
        FastLoop(seed=1)
