"""Under `patch` everything but the draw is what transformers' own loop does, bit for bit.

What the patched loop drew is put into the unchanged loop in the place of `torch.multinomial`: both must
then give the same sequences, scores, logits and stream. Scores have equal supports, too: the cuts of
onedraw differ from transformers' only for a mass within 1e-6 of one, or ties at top-p, which these rows
have not (tests/test_hf_equality.py compares the cuts themselves).
"""

import options
import pytest
import torch
from networks import PAD, prompts
from stock import drawing

import onedraw


def run(model, given):
    """A whole run of `generate`, with all that it can show."""
    streamed = options.Recorded()
    shown = {"return_dict_in_generate": True, "output_scores": True, "output_logits": True}
    result = model.generate(**prompts(model), **shown, streamer=streamed, **given)
    return result, streamed


def compare(model, make, **more):
    def given():
        return {"do_sample": True, "max_new_tokens": 6, "top_k": 0} | make() | more

    with onedraw.hf.patch(seed=11):
        ours, our_stream = run(model, given())
        again = model.generate(**prompts(model), **given())
    with drawing(ours.sequences[:, -len(ours.scores) :], given().get("pad_token_id", PAD)):
        theirs, their_stream = run(model, given())
    assert torch.equal(ours.sequences, theirs.sequences)
    for kind in ("scores", "logits"):
        for step, (a, b) in enumerate(zip(ours[kind], theirs[kind], strict=True)):
            assert a.dtype == b.dtype
            assert torch.equal(a, b), (kind, step)
    assert our_stream.put_tokens == their_stream.put_tokens
    assert our_stream.ended == their_stream.ended == 1
    assert set(ours.keys()) == set(theirs.keys())
    assert torch.equal(again, ours.sequences)  # what is shown changes no token
    return ours


@pytest.mark.parametrize("name", options.SETS)
def test_a_set_of_options(table_network, name):
    compare(table_network, options.SETS[name])


@pytest.mark.parametrize("name", options.DECODER_ONLY | options.STATIC)
def test_a_set_of_options_of_decoders(decoder, name):
    compare(decoder, (options.DECODER_ONLY | options.STATIC)[name])


@pytest.mark.parametrize("name", ["several ends", "typical_p", "a user's processors"])
def test_some_options_of_each_network(network, name):
    compare(network, options.SETS[name])


def test_several_samples(network):
    result = compare(network, lambda: {"top_k": 9, "top_p": 0.95}, num_return_sequences=4)
    assert result.sequences.shape[0] == 12
    assert len({tuple(row.tolist()) for row in result.sequences}) > 3


def test_all_tokens_are_asked_for_and_possible(llama):
    """What the comparison would catch: a token more, one that is cut, one that is another."""
    inputs = prompts(llama) | {"do_sample": True, "top_k": 3, "max_new_tokens": 2}
    with onedraw.hf.patch(seed=1):
        tokens = llama.generate(**inputs)[:, -2:]
    with drawing(tokens, PAD):
        llama.generate(**inputs)
    with pytest.raises(AssertionError), drawing(tokens.repeat(1, 2), PAD):
        llama.generate(**inputs)
    with pytest.raises(AssertionError), drawing((tokens + 1) % 50, PAD):
        llama.generate(**inputs)


@pytest.mark.parametrize("defect", ["a filter lost", "a processor lost", "a ratio lost"])
def test_a_planted_defect_is_caught(llama, monkeypatch, defect):
    from onedraw.hf import drawing as module

    split = module.split

    def lossy(processors):
        head, settings = split(processors)
        if defect == "a filter lost":
            settings.pop("top_p")
        elif defect == "a ratio lost":
            settings["top_p"] = 0.7
        else:
            head = head[1:]
        return head, settings

    monkeypatch.setattr(module, "split", lossy)
    with pytest.raises(AssertionError):
        compare(llama, lambda: {"top_p": 0.8, "repetition_penalty": 1.2})
