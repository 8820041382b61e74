"""When a row is finished, and what becomes of the others."""

import pytest
import torch
from toys import VOCAB, Toy

import onedraw
from onedraw.generate import generate
from onedraw.generate.stopping import without

PROMPTS = torch.arange(1, 13).view(12, 1)


def cut(row, eos, pad):
    """A row of tokens as it looks with end tokens: pad after the first."""
    ended = False
    out = []
    for token in row:
        out.append(pad if ended else token)
        ended = ended or token in eos
    return out


@pytest.mark.parametrize("eos", [[7], [7, 11, 30], [VOCAB + 5]])
def test_end_tokens(toy, eos):
    free = generate(toy, PROMPTS, max_new_tokens=40, seed=0, temperature=2.0)
    text = generate(
        toy, PROMPTS, max_new_tokens=40, seed=0, temperature=2.0, eos_token_id=eos, pad_token_id=3
    )
    expected = torch.tensor([[row[0], *cut(row[1:], eos, 3)] for row in free.tolist()])
    assert torch.equal(text, expected[:, : text.shape[1]])
    assert (expected[:, text.shape[1] :] == 3).all()


def test_finished_rows_leave_the_batch(toy):
    generate(toy, PROMPTS, max_new_tokens=60, seed=0, temperature=2.0, eos_token_id=[7, 11, 30])
    batches = [shape[0] for shape in toy.shapes]
    assert batches[0] == 12
    assert batches == sorted(batches, reverse=True)
    assert batches[-1] <= 2


def test_parameters_follow_the_rows_that_stay(toy):
    options = {"max_new_tokens": 40, "temperature": [0.5 + 0.3 * r for r in range(12)], "seed": 5}
    options["logit_bias"] = [{r: 3.0} for r in range(12)]
    free = generate(toy, PROMPTS, **options)
    text = generate(toy, PROMPTS, **options, eos_token_id=9)
    for long, short in zip(free.tolist(), text.tolist(), strict=True):
        assert cut(long[1:], [9], 9)[: len(short) - 1] == short[1:]


def test_the_end_token_pads_by_default(toy):
    text = generate(toy, PROMPTS, max_new_tokens=40, seed=0, temperature=2.0, eos_token_id=7)
    run = generate(
        toy,
        PROMPTS,
        max_new_tokens=40,
        seed=0,
        temperature=2.0,
        eos_token_id=7,
        return_details=True,
    )
    assert torch.equal(text, run.sequences)
    for row, (reason, length) in enumerate(
        zip(run.finish_reasons, run.new_lengths.tolist(), strict=True)
    ):
        tail = text[row, 1 + length :]
        assert reason == ("eos" if text[row, length] == 7 else "length")
        assert (tail == 7).all()


SIXTEEN = torch.arange(1, 17).view(16, 1)
END = 49


def spoilt(toy, value):
    """The toy, whose logits are all `value` from the end token of a row on."""

    def model(ids):
        logits = toy(ids)
        logits[(ids == END).cumsum(dim=1) > 0] = value
        return logits

    return model


@pytest.fixture(params=["each step", "every 16 steps"])
def looks(request):
    if request.param == "every 16 steps":
        request.getfixturevalue("as_on_a_device")


@pytest.mark.usefixtures("looks")
@pytest.mark.parametrize("details", [False, True])
@pytest.mark.parametrize("value", [-torch.inf, torch.nan])
def test_what_comes_after_the_end_of_a_row_is_no_error(toy, value, details):
    bias = [{END: 100.0 if row == 3 else -100.0} for row in range(16)]
    options = {"max_new_tokens": 20, "seed": 2, "logit_bias": bias, "eos_token_id": END}
    options |= {"temperature": [0.5 + 0.1 * row for row in range(16)], "return_details": details}
    run, expected = (generate(model, SIXTEEN, **options) for model in (spoilt(toy, value), toy))
    if details:
        assert run.new_lengths.tolist() == [1 if row == 3 else 20 for row in range(16)]
        for field, other in zip(run.draws, expected.draws, strict=True):
            assert torch.equal(field.nan_to_num(7), other.nan_to_num(7))
        run, expected = run.sequences, expected.sequences
    assert torch.equal(run, expected)


@pytest.mark.usefixtures("looks")
def test_nothing_is_drawn_for_a_row_without_tokens(toy):
    many = [0, *[5] * 15]
    prompts = torch.cat([torch.tensor([[END]]), SIXTEEN[1:]])
    text = generate(spoilt(toy, torch.nan), prompts, max_new_tokens=many, seed=0)
    expected = generate(toy, prompts, max_new_tokens=many, seed=0)
    assert torch.equal(text, expected)


@pytest.mark.usefixtures("looks")
def test_all_rows_end_before_anyone_looks(toy):
    options = {"max_new_tokens": 20, "eos_token_id": END, "logit_bias": {END: 100.0}}
    text = generate(spoilt(toy, -torch.inf), SIXTEEN, **options)
    assert text.tolist() == [[row, END] for row in range(1, 17)]


@pytest.mark.usefixtures("looks")
def test_of_bad_rows_the_running_ones_are_named(toy):
    def model(ids):
        logits = spoilt(toy, -torch.inf)(ids)
        if ids.shape[1] == 9:
            logits[ids[:, 0] == 12, -1] = torch.nan
            logits[ids[:, 0] == 2] = torch.nan
        return logits

    bias = [{END: 100.0 if row == 1 else -100.0} for row in range(16)]
    with pytest.raises(onedraw.BadRowError, match="row 11 has a NaN") as caught:
        generate(model, SIXTEEN, max_new_tokens=20, eos_token_id=END, logit_bias=bias)
    assert (caught.value.rows, caught.value.statuses) == ((11,), (1,))


def test_no_more_columns_than_needed(toy):
    bias = {7: 100.0}
    text = generate(toy, PROMPTS, max_new_tokens=1000, eos_token_id=7, logit_bias=bias, seed=0)
    assert text.shape == (12, 2)
    assert len(toy.shapes) == 1


@pytest.mark.parametrize("allowed", [None, "bool", "rows", "bits"])
def test_min_new_tokens(toy, allowed):
    eos = [7, 31]
    masks = {
        None: None,
        "bool": torch.arange(VOCAB) < 40,
        "rows": (torch.arange(VOCAB) < 40).expand(12, VOCAB).contiguous(),
        "bits": torch.tensor([-1, 0xFF], dtype=torch.int32),
    }
    options = {
        "max_new_tokens": 30,
        "eos_token_id": eos,
        "logit_bias": {7: 6.0, 31: 6.0},
        "seed": 1,
    }
    mask = masks[allowed]
    short = generate(toy, PROMPTS, **options, allowed=mask, return_details=True)
    assert int(short.new_lengths.min()) == 1
    run = generate(toy, PROMPTS, **options, allowed=mask, min_new_tokens=5, return_details=True)
    assert int(run.new_lengths.min()) == 6  # five others, then an end token, which is likely
    new = run.sequences[:, 1:6]
    assert not torch.isin(new, torch.tensor(eos)).any()
    if allowed is not None:
        assert int(new.max()) < 40


def test_without_clears_bits():
    bits = without(torch.full((2, 2), -1, dtype=torch.int32), (0, 31, 32, 99), 64)
    assert bits.tolist() == [[2**31 - 2, -2]] * 2


@pytest.mark.parametrize("make", [list, torch.tensor])
def test_max_new_tokens_one_a_request(toy, make):
    many = [0, 3, 7] * 4
    run = generate(
        toy, PROMPTS, max_new_tokens=make(many), seed=0, pad_token_id=49, return_details=True
    )
    full = generate(toy, PROMPTS, max_new_tokens=7, seed=0)
    assert run.new_lengths.tolist() == many
    for row, length in enumerate(many):
        assert torch.equal(run.sequences[row, : 1 + length], full[row, : 1 + length])
        assert (run.sequences[row, 1 + length :] == 49).all()


def test_stop_strings(letters):
    # "stop" is completed by ("st", "op"), by ("s", "to", "px") with an overhang, and by ("o", "p") after "st".
    words = {
        word: letters.convert_tokens_to_ids(word) for word in ("st", "op", "s", "to", "px", "a")
    }
    script = torch.tensor(
        [
            [words["st"], words["op"], words["a"], words["a"]],
            [words["s"], words["to"], words["px"], words["a"]],
            [words["a"], words["to"], words["op"], words["a"]],
        ]
    )

    def model(ids):
        logits = torch.zeros(*ids.shape, VOCAB)
        step = ids.shape[1] - 1
        for row, first in enumerate(ids[:, 0].tolist()):
            logits[row, -1, script[first, step]] = 100.0
        return logits

    run = generate(
        model,
        [[0], [1], [2]],
        max_new_tokens=4,
        temperature=0,
        stop_strings="stop",
        tokenizer=letters,
        return_details=True,
    )
    assert run.finish_reasons == ["stop_string", "stop_string", "length"]
    assert run.new_lengths.tolist() == [2, 3, 4]


@pytest.mark.parametrize("strings", [["stop", "po"], "xt"])
def test_stop_strings_as_in_transformers(llama, letters, strings):
    prompt = torch.tensor([[1, 2], [18, 19], [30, 4]])
    options = {
        "max_new_tokens": 30,
        "stop_strings": strings,
        "tokenizer": letters,
        "do_sample": False,
    }
    theirs = llama.generate(
        prompt,
        attention_mask=torch.ones_like(prompt),
        eos_token_id=VOCAB + 1,
        pad_token_id=0,
        **options,
    )
    ours = generate(llama, prompt, pad_token_id=0, **options)
    assert torch.equal(ours, theirs)


def test_seeds_do_not_move_when_rows_leave():
    with_end = generate(Toy(), PROMPTS, max_new_tokens=50, seed=0, eos_token_id=7, temperature=3.0)
    seeds = onedraw.seeds(0, range(12))
    for row in range(12):
        alone = generate(
            Toy(),
            PROMPTS[row : row + 1],
            max_new_tokens=50,
            seed=seeds[row : row + 1],
            eos_token_id=7,
            temperature=3.0,
        )
        assert torch.equal(alone[0], with_end[row, : alone.shape[1]])


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"max_new_tokens": -1}, ValueError, "max_new_tokens must be an integer >= 0, got -1"),
        ({"max_new_tokens": 1.5}, TypeError, "max_new_tokens must be an integer"),
        ({"max_new_tokens": True}, TypeError, "max_new_tokens must be an integer"),
        (
            {"max_new_tokens": [1, 2]},
            ValueError,
            "max_new_tokens must have one value a request, 12, got 2",
        ),
        ({"min_new_tokens": -1}, ValueError, "min_new_tokens must be"),
        ({"min_new_tokens": 9, "max_new_tokens": 3}, ValueError, "min_new_tokens must be at most"),
        ({"eos_token_id": -2}, ValueError, "eos_token_id must be"),
        ({"eos_token_id": "</s>"}, TypeError, "eos_token_id must be"),
        ({"pad_token_id": -1}, ValueError, "pad_token_id must be"),
        ({"stop_strings": "x"}, ValueError, "tokenizer must be given with stop_strings"),
        ({"stop_strings": ["x", ""]}, TypeError, "stop_strings must be"),
        ({"num_return_sequences": 0}, ValueError, "num_return_sequences must be"),
        ({"context_length": 0}, ValueError, "context_length must be"),
    ],
)
def test_refused(toy, options, error, message):
    with pytest.raises(error, match=message):
        generate(toy, PROMPTS, **options)
