"""Models of transformers: the cache, the padding and the positions are right."""

import inspect

import pytest
import torch
from toys import VOCAB, tiny

import onedraw
from onedraw.generate import generate

transformers = pytest.importorskip("transformers")

PROMPT = torch.randint(0, VOCAB, (4, 7), generator=torch.Generator().manual_seed(2))
RAGGED = [[5, 6, 7, 8, 9, 10, 11, 12], [1, 2, 3], [40], [20, 21, 22, 23, 24]]


def whole(network):
    """The same network without a cache, as any other callable."""
    return lambda ids: network(input_ids=ids, use_cache=False).logits


@pytest.mark.parametrize("options", [{"temperature": 0}, {"top_p": 0.9, "seed": 3}])
def test_the_cache_changes_nothing(network, options):
    text = generate(network, PROMPT, max_new_tokens=20, eos_token_id=[], **options)
    assert torch.equal(text, generate(whole(network), PROMPT, max_new_tokens=20, **options))


def test_greedy_as_in_transformers(network):
    theirs = network.generate(
        PROMPT,
        attention_mask=torch.ones_like(PROMPT),
        max_new_tokens=20,
        do_sample=False,
        pad_token_id=0,
    )
    assert torch.equal(generate(network, PROMPT, max_new_tokens=20, do_sample=False), theirs)


def test_left_padding_changes_nothing(network):
    seeds = onedraw.seeds(9, range(4))
    options = {"max_new_tokens": 15, "temperature": 0.9}
    text = generate(network, RAGGED, seed=seeds, pad_token_id=33, **options)
    assert (text[1, :5] == 33).all()
    for row, prompt in enumerate(RAGGED):
        alone = generate(network, [prompt], seed=seeds[row : row + 1], **options)
        assert torch.equal(alone[0], text[row, 8 - len(prompt) :])


def test_a_mask_by_hand_is_the_same(network):
    width = max(map(len, RAGGED))
    ids = torch.tensor([[33] * (width - len(p)) + p for p in RAGGED])
    mask = torch.tensor([[0] * (width - len(p)) + [1] * len(p) for p in RAGGED])
    expected = generate(network, RAGGED, max_new_tokens=10, seed=1, pad_token_id=33)
    for given in (mask, mask.bool(), mask.tolist()):
        text = generate(network, ids, attention_mask=given, max_new_tokens=10, seed=1)
        assert torch.equal(text, expected)


def test_padding_without_a_mask_is_said(llama):
    with pytest.warns(UserWarning, match="begin with the padding 33 and no attention_mask"):
        generate(llama, [[33, 1], [2, 1]], max_new_tokens=1, pad_token_id=33)


def test_the_details_know_the_padding(network):
    run = generate(network, RAGGED, max_new_tokens=3, seed=1, return_details=True)
    assert run.prompt_lengths.tolist() == [8, 3, 1, 5]


def test_samples_share_the_prompt(network):
    text = generate(network, RAGGED, max_new_tokens=9, seed=4, num_return_sequences=3)
    for j in range(3):
        alone = generate(network, RAGGED, max_new_tokens=9, seed=4, stream=j)
        assert torch.equal(text[j::3], alone)


@pytest.mark.parametrize("prompts", [PROMPT, RAGGED], ids=["even", "ragged"])
def test_rows_that_leave_change_nothing(network, prompts):
    options = {
        "max_new_tokens": 40,
        "seed": 5,
        "temperature": 1.5,
        "num_return_sequences": 3,
        "pad_token_id": 0,
    }
    free = generate(network, prompts, eos_token_id=[], **options)
    run = generate(network, prompts, eos_token_id=[3, 7], return_details=True, **options)
    assert len(set(run.new_lengths.tolist())) > 3
    width = free.shape[1] - 40
    for row, length in enumerate(run.new_lengths.tolist()):
        assert torch.equal(run.sequences[row, : width + length], free[row, : width + length])


@pytest.mark.parametrize("context", [4, 9, 12])
@pytest.mark.parametrize("prompts", [PROMPT, RAGGED], ids=["even", "ragged"])
def test_a_long_context_is_cut(llama, context, prompts):
    options = {"max_new_tokens": 14, "temperature": 0.8}
    seeds = onedraw.seeds(2, range(4))
    text = generate(llama, prompts, context_length=context, seed=seeds, **options)
    width = text.shape[1] - 14
    for row in range(4):
        prompt = torch.as_tensor(prompts[row])[None]
        alone = generate(
            whole(llama), prompt, context_length=context, seed=seeds[row : row + 1], **options
        )
        assert torch.equal(alone[0], text[row, width - prompt.shape[1] :])


def test_beyond_the_positions_of_the_model(network):
    text = generate(network, PROMPT, max_new_tokens=80, context_length=64, seed=0)
    assert text.shape == (4, 87)


@pytest.mark.parametrize("looks", ["each step", "every 16 steps"])
def test_every_row_of_a_ragged_batch_has_the_whole_context(network, looks, request):
    if looks == "every 16 steps":
        request.getfixturevalue("as_on_a_device")
    prompts = [[i % VOCAB for i in range(62)], *([i, 2 * i, 3] for i in range(1, 16))]
    seeds = onedraw.seeds(6, range(16))
    options = {"temperature": 0.9, "eos_token_id": [], "pad_token_id": 0}
    run = generate(network, prompts, seed=seeds, return_details=True, **options)
    assert run.new_lengths.tolist() == [2] + [61] * 15
    for row, prompt in enumerate(prompts):
        alone = generate(network, [prompt], seed=seeds[row : row + 1], **options)
        assert alone.shape == (1, 64)
        assert torch.equal(alone[0, len(prompt) :], torch.tensor(run.tokens(row)))


def test_a_row_that_is_finished_needs_no_more_positions(network):
    prompts = [[i % VOCAB for i in range(62)], *([i, 2, 3] for i in range(1, 16))]
    many = [2, *[61] * 15]
    text = generate(network, prompts, max_new_tokens=many, context_length=200, seed=0)
    assert text.shape == (16, 123)


def test_the_context_bounds_the_default_length(llama):
    long = torch.arange(VOCAB)[None]
    assert generate(llama, long, seed=0).shape == (1, 64)
    assert generate(llama, long[:, :4], seed=0).shape == (1, 64)


def test_the_cache_grows(llama, monkeypatch):
    from onedraw.generate import cache

    expected = generate(llama, RAGGED, max_new_tokens=40, seed=0, num_return_sequences=2)
    monkeypatch.setattr(cache, "SPARE", 1)
    text = generate(llama, RAGGED, max_new_tokens=40, seed=0, num_return_sequences=2)
    assert torch.equal(text, expected)


def test_training_mode_and_gradients_are_left_alone(llama):
    llama.train()
    generate(llama, PROMPT, max_new_tokens=2, seed=0)
    assert llama.training
    llama.eval()
    llama(input_ids=PROMPT).logits.sum().backward()
    llama.zero_grad()


def test_a_wrapped_network(llama):
    expected = generate(llama, PROMPT, max_new_tokens=4, seed=0)
    compiled = torch.compile(llama, backend="eager")
    assert torch.equal(generate(compiled, PROMPT, max_new_tokens=4, seed=0), expected)


def test_half_precision():
    text = generate(tiny("llama").bfloat16(), PROMPT, max_new_tokens=8, seed=0)
    assert text.shape == (4, 15)


def test_a_recurrent_network():
    config = transformers.MambaConfig(
        vocab_size=VOCAB, hidden_size=16, num_hidden_layers=2, state_size=4, initializer_range=0.4
    )
    torch.manual_seed(0)
    network = transformers.AutoModelForCausalLM.from_config(config).eval()
    options = {"max_new_tokens": 6, "temperature": 0, "eos_token_id": []}
    if "cache" not in inspect.signature(network.forward).parameters:  # an old transformers
        with pytest.raises(ValueError, match=r"lambda ids: model\(ids\).logits"):
            generate(network, RAGGED, **options)
        return
    expected = [generate(whole(network), [prompt], **options)[0] for prompt in RAGGED]
    text = generate(network, RAGGED, **options)
    for row, alone in enumerate(expected):
        assert torch.equal(text[row, -len(alone) :], alone)


def test_encoder_decoder_is_refused():
    config = transformers.T5Config(
        vocab_size=VOCAB,
        d_model=16,
        d_kv=8,
        d_ff=16,
        num_layers=1,
        num_heads=2,
        decoder_start_token_id=0,
    )
    network = transformers.T5ForConditionalGeneration(config).eval()
    with pytest.raises(ValueError, match="model must be a decoder"):
        generate(network, PROMPT, max_new_tokens=2)
