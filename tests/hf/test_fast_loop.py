"""FastLoop writes what the patched loop writes, with the scores and logits that transformers' own loop shows.

Scores and logits are compared bit for bit with those of the unchanged loop, into which the drawn tokens are
put in the place of `torch.multinomial`, as in test_equal_to_stock.
"""

import options
import pytest
import torch
import transformers
from networks import DECODERS, EOS, PAD, prompts
from stock import drawing
from test_patch import letters

import onedraw
from onedraw.hf import FastLoop, fast, patch

SEEDS = onedraw.seeds(5, range(3))
SHOWN = {"return_dict_in_generate": True, "output_scores": True, "output_logits": True}
SETS = {k: v for k, v in options.SETS.items() if k not in ("no cache", "attentions")}


@pytest.fixture(params=["llama", pytest.param("gpt2", marks=pytest.mark.slow)])
def table_decoder(request, made):
    return made[request.param]


@pytest.fixture(params=["at once", "as on a device"])
def looks(request, monkeypatch):
    """On a device rows are looked at late, and some steps are made after the last has finished."""
    if request.param == "as on a device":
        real = fast.Stopping
        monkeypatch.setattr(
            fast, "Stopping", lambda *args: real(*args[:3], at_once=False, blank=args[4])
        )


def write(model, inputs=None, **given):
    sampled = {"do_sample": True, "max_new_tokens": 6, "top_k": 0, "temperature": 1.3}
    return model.generate(**inputs or prompts(model), **sampled | given)


def compare(model, make, **more):
    """The text of the patch; scores and logits of the loop that transformers has."""

    def given():
        return {"temperature": None} | make() | more

    with patch(seed=11):
        expected = write(model, **given())
    loop = FastLoop(seed=11)
    assert torch.equal(write(model, **given(), custom_generate=loop), expected)
    ours = write(model, **given(), **SHOWN, custom_generate=loop)
    assert torch.equal(ours.sequences, expected)
    with drawing(expected[:, -len(ours.scores) :], given().get("pad_token_id", PAD)):
        theirs = write(model, **given(), **SHOWN)
    assert type(ours) is type(theirs)
    assert torch.equal(ours.sequences, theirs.sequences)
    for kind in ("scores", "logits"):
        for step, (a, b) in enumerate(zip(ours[kind], theirs[kind], strict=True)):
            assert a.dtype == b.dtype
            assert torch.equal(a, b), (kind, step)
    return ours


@pytest.mark.usefixtures("looks")
@pytest.mark.parametrize("name", SETS)
def test_a_set_of_options(table_decoder, name):
    compare(table_decoder, SETS[name])


@pytest.mark.parametrize("name", options.DECODER_ONLY)
def test_a_set_of_options_of_decoders(decoder, name):
    compare(decoder, options.DECODER_ONLY[name])


@pytest.mark.usefixtures("looks")
@pytest.mark.parametrize("samples", [1, 3])
@pytest.mark.parametrize("seed", [7, -1, 2**64 - 1, SEEDS, SEEDS.tolist(), [1, None, 3]])
def test_seeds_are_those_of_the_patch(llama, seed, samples):
    given = {"top_k": 20, "top_p": 0.95, "num_return_sequences": samples}
    torch.manual_seed(0)
    with patch(seed):
        expected = write(llama, **given)
    torch.manual_seed(0)
    assert torch.equal(write(llama, **given, custom_generate=FastLoop(seed)), expected)


def test_without_a_seed_torch_reproduces(llama):
    loop = FastLoop()
    torch.manual_seed(1)
    first, second = (write(llama, custom_generate=loop) for _ in range(2))
    torch.manual_seed(1)
    assert torch.equal(write(llama, custom_generate=loop), first)
    assert not torch.equal(first, second)
    mine = FastLoop(generator=torch.Generator().manual_seed(1))
    state = torch.get_rng_state()
    assert torch.equal(write(llama, custom_generate=mine), first)
    write(llama, do_sample=False, temperature=None, top_k=None, custom_generate=loop)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.usefixtures("looks")
@pytest.mark.parametrize(
    "make",
    [
        dict,
        lambda: {"repetition_penalty": 1.3, "min_new_tokens": 3},
        lambda: {"logits_processor": [options.EvenOnly(), options.TopKLogitsWarper(5)]},
        lambda: {"stopping_criteria": [options.Enough(list(range(30, 50)))]},
    ],
)
def test_greedy(decoder, make):
    greedy = {"do_sample": False, "temperature": None, "top_k": None, "max_new_tokens": 20, **SHOWN}
    theirs = write(decoder, **greedy, **make())
    ours = write(decoder, **greedy, **make(), custom_generate=FastLoop())
    assert torch.equal(ours.sequences, theirs.sequences)
    for kind in ("scores", "logits"):
        assert all(map(torch.equal, ours[kind], theirs[kind]))
        assert len(ours[kind]) == len(theirs[kind])


@pytest.fixture
def shapes(llama):
    """Shapes of the tokens that go through the model."""
    seen = []
    handle = llama.register_forward_pre_hook(
        lambda module, args, given: seen.append(tuple(given["input_ids"].shape)), with_kwargs=True
    )
    yield seen
    handle.remove()


def test_rows_leave_where_nothing_forbids_it(llama, shapes):
    given = {"max_new_tokens": 25, "num_return_sequences": 4, "eos_token_id": [7, 9, 11, 13]}
    with patch(seed=3):
        expected = write(llama, **given)
    shapes.clear()
    assert torch.equal(write(llama, **given, custom_generate=FastLoop(seed=3)), expected)
    assert shapes[:2] == [(3, 6), (12, 1)]  # the prompts go through once
    assert shapes[-1][0] < 6
    shapes.clear()
    penalty = {**given, "repetition_penalty": 1.2}
    write(llama, **penalty, custom_generate=FastLoop(seed=3))
    assert {rows for rows, _ in shapes[1:]} == {12}


@pytest.mark.usefixtures("looks")
def test_rows_go_on_where_no_token_ends_them(llama):
    """As in transformers: without an end token a row that a criterion stops goes on, until all have stopped."""

    class Row(transformers.StoppingCriteria):
        def __call__(self, input_ids, scores, **kwargs):
            return torch.arange(len(input_ids)) < input_ids.shape[1] - 7

    given = {"eos_token_id": None, "max_new_tokens": 9}
    with patch(seed=3):
        expected = write(llama, **given, stopping_criteria=[Row()])
    ours = write(llama, **given, stopping_criteria=[Row()], custom_generate=FastLoop(seed=3))
    assert torch.equal(ours, expected)
    assert ours.shape == (3, 10)
    assert (ours[:, 6:] != PAD).all()


def test_criteria_get_the_scores_if_they_are_kept(llama):
    seen = []

    def criterion(input_ids, scores, **kwargs):
        seen.append((input_ids.shape[1], None if scores is None else len(scores)))
        return torch.zeros(3, dtype=torch.bool)

    given = {"stopping_criteria": [criterion], "max_new_tokens": 3, "custom_generate": FastLoop(1)}
    write(llama, **given)
    assert seen == [(7, None), (8, None), (9, None)]
    seen.clear()
    write(llama, **given, **SHOWN)
    assert seen == [(7, 1), (8, 2), (9, 3)]


def test_stop_strings(llama):
    """transformers passes no tokenizer on, and says so; a criterion stops at the same place."""
    tokenizer = letters()
    given = {"max_new_tokens": 15, "eos_token_id": None}
    inputs = {name: value[1:2] for name, value in prompts(llama).items()}
    with patch(seed=0):
        text = write(llama, inputs, **given)[0]
        stop = tokenizer.decode(text[9:11])
        strings = {"stop_strings": [stop], "tokenizer": tokenizer}
        expected = write(llama, inputs, **given, **strings)
    assert expected.shape[1] < 21
    with pytest.raises(ValueError, match="tokenizer"):
        write(llama, inputs, **given, **strings, custom_generate=FastLoop(seed=0))
    criterion = transformers.StopStringCriteria(tokenizer, [stop])
    ours = write(
        llama, inputs, **given, stopping_criteria=[criterion], custom_generate=FastLoop(seed=0)
    )
    assert torch.equal(ours, expected)


@pytest.mark.usefixtures("looks")
def test_a_streamer(llama):
    expected, ours = options.Recorded(), options.Recorded()
    given = {"eos_token_id": [7, 9, 11, 13], "max_new_tokens": 20}
    with patch(seed=4):
        write(llama, **given, streamer=expected)
    write(llama, **given, custom_generate=FastLoop(seed=4, streamer=ours))
    assert ours.put_tokens == expected.put_tokens
    assert ours.ended == 1


def test_it_can_be_wrapped(llama):
    loop = FastLoop(seed=2)
    expected = write(llama, custom_generate=loop)

    def mine(model, *args, **given):
        return loop(model, *args, **given)

    assert torch.equal(write(llama, custom_generate=mine), expected)
    with patch(seed=9):
        assert torch.equal(write(llama, custom_generate=loop), expected)


def test_the_result(llama):
    given = {"return_dict_in_generate": True, "custom_generate": FastLoop(seed=1)}
    run = write(llama, **given)
    assert type(run) is transformers.generation.GenerateDecoderOnlyOutput
    assert list(run) == ["sequences"]
    assert not run.sequences.is_inference()
    scores = write(llama, **given, output_scores=True)
    assert list(scores) == ["sequences", "scores"]
    with pytest.raises(RuntimeError, match="does not require grad"):
        scores.scores[0].sum().backward()


@pytest.mark.usefixtures("looks")
@pytest.mark.parametrize("processed", [False, True])
def test_bad_rows(llama, processed):
    head = llama.lm_head

    def spoil(module, args, output):
        rows = output.shape[0]
        return output.index_fill(0, torch.tensor([1]), torch.nan) if rows == 3 else output

    handle = head.register_forward_hook(spoil)
    given = {"repetition_penalty": 1.2} if processed else {}
    try:
        with pytest.raises(onedraw.BadRowError, match="row 1 has a NaN"):
            write(llama, **given, custom_generate=FastLoop(seed=0))
    finally:
        handle.remove()


def test_the_names_of_the_criteria_are_those_of_generate(llama):
    """End tokens and lengths are known, and asked of no criterion; else rows could not leave."""
    found = []

    def look(model, input_ids, stopping_criteria, **kwargs):
        found.append(fast._end_of(stopping_criteria, 6))
        return input_ids

    for given in ({}, {"eos_token_id": [EOS, 9]}, {"eos_token_id": None}, {"max_time": 1e6}):
        write(llama, **given, custom_generate=look)
    assert [(end.most, end.eos, len(end.checks), end.blank) for end in found] == [
        (6, (EOS,), 0, True),
        (6, (EOS, 9), 0, True),
        (6, (), 0, False),
        (6, (EOS,), 1, True),
    ]
    assert set(DECODERS) == {"gpt2", "llama"}


@pytest.mark.parametrize("defect", ["streams", "positions", "head", "scores"])
def test_a_planted_defect_is_caught(llama, monkeypatch, defect):
    given = dict
    if defect == "streams":
        real = fast.keys

        def changed(*args):
            key = real(*args)
            key.stream.add_(1)
            return key

        monkeypatch.setattr(fast, "keys", changed)
    elif defect == "positions":
        monkeypatch.setattr(fast, "positions", lambda mask: mask.shape[1])
    elif defect == "head":
        given = options.SETS["penalties"]
        monkeypatch.setattr(fast, "split", lambda processors: type("Split", (), {"head": []}))
    else:
        given = lambda: {"top_k": 5}  # noqa: E731
        monkeypatch.setattr(fast.DrawingProcessors, "shown", lambda self, scores: scores)
    with pytest.raises(AssertionError):
        compare(llama, given, num_return_sequences=2 if defect == "streams" else 1)


class Level(transformers.LogitsProcessor):
    """Tokens 7 to 20 are equally likely, and no other."""

    def __call__(self, input_ids, scores):
        level = torch.full_like(scores, -torch.inf)
        level[:, 7:21] = 0
        return level


def test_ties_are_kept(llama):
    text = write(
        llama,
        top_k=1,
        logits_processor=[Level()],
        eos_token_id=None,
        num_return_sequences=20,
        custom_generate=FastLoop(seed=1),
    )
    assert len(set(text[:, 6:].flatten().tolist())) == 14
