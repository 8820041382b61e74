"""OneDraw: the tokens of the patched loop and of `sample`, whatever `generate` does around it."""

import copy

import options
import pytest
import torch
from networks import EOS, VOCAB, prompts, tiny

import onedraw
from onedraw.hf import OneDraw

SEEDS = onedraw.seeds(5, range(3))


def mask_of(model):
    """What OneDraw is told of padding: nothing of an encoder's."""
    return None if model.config.is_encoder_decoder else prompts(model)["attention_mask"]


def patched(model, **given):
    with onedraw.hf.patch(seed=SEEDS):
        return model.generate(
            **prompts(model), **{"do_sample": True, "max_new_tokens": 6, "top_k": 0} | given
        )


def one_draw(model, do_sample, settings, **given):
    """The same by OneDraw, which stands behind the processors of the user's."""
    drawer = OneDraw(**settings, ties="keep", seed=SEEDS, attention_mask=mask_of(model))
    given = {"max_new_tokens": 6} | given
    given["logits_processor"] = [*given.get("logits_processor", ()), drawer]
    return model.generate(**prompts(model), do_sample=do_sample, **given)


@pytest.mark.parametrize("name", options.FUSED)
def test_the_tokens_of_the_patch(decoder, name):
    settings = options.FUSED[name]
    text = patched(decoder, **settings)
    assert torch.equal(one_draw(decoder, True, settings), text)
    assert torch.equal(one_draw(decoder, False, settings), text)


EVERY = options.AROUND | options.DECODER_ONLY | options.STATIC


@pytest.mark.parametrize("name", EVERY)
def test_options_around_the_draw(llama, name):
    both = {"temperature": 0.8, "top_k": 20, "top_p": 0.95, "min_p": 0.01}
    theirs, ours = options.Recorded(), options.Recorded()
    text = patched(llama, **EVERY[name]() | both, streamer=theirs)
    given = {name: value for name, value in EVERY[name]().items() if name not in both}
    assert torch.equal(one_draw(llama, False, both, **given, streamer=ours), text)
    assert ours.put_tokens == theirs.put_tokens
    assert ours.ended == theirs.ended == 1


@pytest.mark.parametrize("do_sample", [True, False])
def test_an_encoder_decoder(network, do_sample):
    settings = {"temperature": 1.5, "top_p": 0.98}
    ours = one_draw(network, do_sample, settings, eos_token_id=[EOS, 20, 21])
    assert torch.equal(ours, patched(network, **settings, eos_token_id=[EOS, 20, 21]))


def test_samples_of_a_prompt(llama):
    inputs = prompts(llama)
    seed, stream = SEEDS.repeat_interleave(2), torch.tensor([0, 1]).repeat(3)
    drawer = OneDraw(top_k=9, seed=seed, stream=stream, attention_mask=inputs["attention_mask"])
    given = {"num_return_sequences": 2, "max_new_tokens": 6}
    # do_sample=False allows one sequence alone
    ours = llama.generate(**inputs, **given, do_sample=True, logits_processor=[drawer])
    assert torch.equal(ours, patched(llama, top_k=9, num_return_sequences=2))


def test_the_scores_are_one_token(llama):
    drawer = OneDraw(top_p=0.9, seed=1)
    shown = {"return_dict_in_generate": True, "output_scores": True, "output_logits": True}
    run = llama.generate(
        **prompts(llama), max_new_tokens=4, do_sample=True, logits_processor=[drawer], **shown
    )
    tokens = run.sequences[:, -4:].T
    for step, scores in zip(tokens, run.scores, strict=True):
        assert torch.equal(scores.argmax(-1), step)
        assert (scores.gather(1, step[:, None]) == 0).all()
        assert (scores == -torch.inf).sum() == 3 * (VOCAB - 1)
    assert all(torch.isfinite(logits).all() for logits in run.logits)
    moved = llama.compute_transition_scores(run.sequences, run.scores)
    assert (moved == 0).all()


@pytest.mark.parametrize("do_sample", [True, False])
def test_greedy_is_theirs(network, do_sample):
    inputs = prompts(network)
    theirs = network.generate(**inputs, max_new_tokens=6, do_sample=False)
    ours = network.generate(
        **inputs, max_new_tokens=6, do_sample=do_sample, logits_processor=[OneDraw(temperature=0)]
    )
    assert torch.equal(ours, theirs)


def test_padding_counts_only_where_it_is_not_known(llama):
    """A row by itself, without padding, and in the batch."""
    inputs = prompts(llama)
    padding = 2  # of row 0
    alone = {name: value[:1, padding:] for name, value in inputs.items()}
    scores = torch.randn(1, VOCAB, generator=torch.Generator().manual_seed(0)).expand(3, -1)

    def first(drawer, ids):
        return drawer(ids, scores[: ids.shape[0]]).argmax(-1)

    one = first(OneDraw(seed=SEEDS[:1]), alone["input_ids"])
    known = OneDraw(seed=SEEDS, attention_mask=inputs["attention_mask"])
    assert first(known, inputs["input_ids"])[0] == one
    at = [
        onedraw.sample(scores[:1], seed=SEEDS[:1], position=position).item() for position in (4, 6)
    ]
    assert one.item() == at[0]
    assert first(OneDraw(seed=SEEDS), inputs["input_ids"])[0] == at[1]
    assert at[0] != at[1]


def test_rows_have_their_own_parameters(llama):
    drawer = OneDraw(
        params=[
            onedraw.SamplingParams(temperature=0),
            onedraw.SamplingParams(top_k=3, seed=4),
            onedraw.SamplingParams(top_p=0.9, seed=5),
        ],
        attention_mask=mask_of(llama),
    )
    inputs = prompts(llama)
    text = llama.generate(**inputs, max_new_tokens=6, do_sample=False, logits_processor=[drawer])
    greedy = llama.generate(**inputs, max_new_tokens=6, do_sample=False)
    assert torch.equal(text[0], greedy[0])
    again = onedraw.generate(
        llama,
        **inputs,
        max_new_tokens=6,
        temperature=[0, None, None],
        top_k=[None, 3, None],
        top_p=[None, None, 0.9],
        seed=[0, 4, 5],
    )
    assert torch.equal(text, again)


def test_it_is_used_again(llama):
    """Another prompt, other rows, the same prompt: as a new one each time."""
    inputs = prompts(llama)
    drawer = OneDraw(top_k=9, seed=3)
    for ids in (inputs["input_ids"], inputs["input_ids"][:1, 2:], inputs["input_ids"]):
        given = {"max_new_tokens": 5, "do_sample": True, "attention_mask": torch.ones_like(ids)}
        new = llama.generate(ids, **given, logits_processor=[OneDraw(top_k=9, seed=3)])
        assert torch.equal(llama.generate(ids, **given, logits_processor=[drawer]), new)


def test_stop_and_resume_is_the_same_text(llama):
    ids = prompts(llama)["input_ids"][1:2]
    drawer = OneDraw(temperature=1.2, seed=3)
    given = {"do_sample": True, "eos_token_id": None, "logits_processor": [drawer]}
    whole = llama.generate(ids, max_new_tokens=8, **given)
    part = llama.generate(ids, max_new_tokens=3, **given)
    assert torch.equal(llama.generate(part, max_new_tokens=5, **given), whole)


def test_without_a_seed_torch_reproduces(llama):
    given = {"max_new_tokens": 8, "do_sample": True, "eos_token_id": None}
    drawer = OneDraw(temperature=1.5)

    def text():
        return llama.generate(**prompts(llama), **given, logits_processor=[drawer])

    torch.manual_seed(4)
    first, second = text(), text()
    assert not torch.equal(first, second)
    torch.manual_seed(4)
    assert torch.equal(first, text())
    torch.manual_seed(4)
    assert torch.equal(first, text())
    drawn = OneDraw(temperature=1.5, generator=torch.Generator().manual_seed(4))
    assert torch.equal(first, llama.generate(**prompts(llama), **given, logits_processor=[drawn]))


def test_embeddings_for_a_prompt(llama):
    inputs = prompts(llama)
    embeds = llama.get_input_embeddings()(inputs["input_ids"])
    mask = inputs["attention_mask"]
    drawer = OneDraw(top_k=9, seed=SEEDS, attention_mask=mask)
    text = llama.generate(
        inputs_embeds=embeds,
        attention_mask=mask,
        max_new_tokens=6,
        do_sample=False,
        logits_processor=[drawer],
    )
    assert torch.equal(text, patched(llama, top_k=9)[:, 6:])


@pytest.mark.parametrize("seed", [9, None])
def test_assisted_decoding_writes_the_same_text(llama, seed):
    """The draft is another network; with a seed the text is that without a draft."""
    draft = tiny("llama")
    for weight in draft.parameters():
        weight.data += 0.05 * torch.randn(
            weight.shape, generator=torch.Generator().manual_seed(weight.numel())
        )
    ids = prompts(llama)["input_ids"][1:2]
    given = {"max_new_tokens": 12, "do_sample": True, "attention_mask": torch.ones_like(ids)}
    text = llama.generate(
        ids, **given, assistant_model=draft, logits_processor=[OneDraw(top_k=9, seed=seed)]
    )
    assert text.shape[1] > ids.shape[1]
    if seed is not None:
        alone = llama.generate(ids, **given, logits_processor=[OneDraw(top_k=9, seed=seed)])
        assert torch.equal(text, alone)


def test_the_settings_are_copies(llama):
    top_k, allowed = torch.tensor([3, 3, 3]), torch.ones(VOCAB, dtype=torch.bool)
    drawer = OneDraw(top_k=top_k, allowed=allowed, seed=2)
    other = copy.deepcopy(drawer)
    scores, ids = torch.randn(3, VOCAB), torch.zeros(3, 4, dtype=torch.int64)
    first = drawer(ids, scores)
    top_k.fill_(1)
    allowed.zero_()
    assert torch.equal(drawer(ids, scores), first)
    assert torch.equal(other(ids, scores), first)


def test_a_beam_search_is_refused_where_a_text_could_go_on(llama):
    drawer = OneDraw(seed=0)
    ids = prompts(llama)["input_ids"]
    drawer(ids[:, :5].repeat(2, 1), torch.zeros(6, VOCAB))
    with pytest.raises(RuntimeError, match="num_beams must be 1 with OneDraw"):
        llama.generate(ids, num_beams=2, max_new_tokens=3, logits_processor=[drawer])


def test_a_beam_search_is_refused(llama):
    for do_sample in (True, False):
        with pytest.raises(RuntimeError, match="num_beams must be 1 with OneDraw"):
            llama.generate(
                **prompts(llama),
                num_beams=2,
                do_sample=do_sample,
                max_new_tokens=3,
                logits_processor=[OneDraw(seed=0)],
            )


@pytest.mark.parametrize(
    ("given", "error", "says"),
    [
        ({"temperature": -1}, ValueError, "temperature must be 0 .greedy. or in"),
        ({"top_p": 0}, ValueError, r"top_p must be in \(0, 1\], got 0"),
        ({"seed": 1.5}, TypeError, "seed must be an integer"),
        ({"stream": 1}, ValueError, "seed must be given with stream"),
        ({"params": {"top_k": 3}}, TypeError, "params must be a SamplingParams"),
        ({"generator": 3}, TypeError, "generator must be a torch.Generator"),
        ({"seed": 1, "generator": torch.Generator()}, ValueError, "generator must be left out"),
        ({"attention_mask": torch.ones(3)}, ValueError, r"attention_mask must be \[B, T\]"),
        ({"fallback": "gpu"}, ValueError, "fallback must be"),
    ],
)
def test_bad_settings(given, error, says):
    with pytest.raises(error, match=says):
        OneDraw(**given)


def test_bad_calls():
    scores, ids = torch.zeros(2, VOCAB), torch.zeros(2, 4, dtype=torch.int64)
    with pytest.raises(ValueError, match=r"scores must be \[R, V\].*continuous batching"):
        OneDraw()(ids[0], scores)
    with pytest.raises(ValueError, match="seed must have one value a row, 2, got 3"):
        OneDraw(seed=[1, 2, 3])(ids, scores)
    with pytest.raises(ValueError, match="top_k must have one value a row, 2, got 3"):
        OneDraw(top_k=[1, 2, 3])(ids, scores)
    with pytest.raises(ValueError, match="params must have one entry a row, 2, got 1"):
        OneDraw(params=[onedraw.SamplingParams()])(ids, scores)
    for mask in (torch.ones(2, 3), torch.ones(2, 5), torch.tensor([[0, 0, 1, 1]] * 3).tril(2)):
        with pytest.raises(ValueError, match="attention_mask must be that of the prompt"):
            OneDraw(attention_mask=mask)(ids, scores)
    with pytest.raises(onedraw.BadRowError, match="row 1 has a NaN"):
        OneDraw()(ids, torch.tensor([[0.0, 1.0], [torch.nan, 0.0]]))
    quiet = OneDraw(raise_on_bad=False)
    quiet.check()
    quiet(ids, torch.tensor([[0.0, 1.0], [torch.nan, 0.0]]))
    with pytest.raises(onedraw.BadRowError, match="row 1 has a NaN"):
        quiet.check()


@pytest.mark.parametrize("defect", ["no seed", "one position", "the padding"])
def test_a_planted_defect_is_caught(llama, monkeypatch, defect):
    from onedraw.hf import processor

    real = processor.OneDraw._position
    if defect == "no seed":
        monkeypatch.setattr(processor, "keys", lambda seed, generator, rows: real_keys(3, rows))
        real_keys = lambda seed, rows: type("Keys", (), {"seed": onedraw.seeds(seed, range(rows))})  # noqa: E731
    else:
        shift = (lambda at: 0) if defect == "one position" else (lambda at: at + 1)
        monkeypatch.setattr(processor.OneDraw, "_position", lambda *a: shift(real(*a)))
    settings = {"temperature": 1.5}
    assert not torch.equal(one_draw(llama, True, settings), patched(llama, **settings))
