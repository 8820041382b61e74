"""The loop as it runs on a device: the host looks every few steps, and late."""

import pytest
import torch

import onedraw
from onedraw.generate import GenerationInterrupted, generate, looking

PROMPTS = torch.arange(1, 13).view(12, 1)
OPTIONS = {"max_new_tokens": 37, "seed": 0, "temperature": 2.0, "eos_token_id": [7, 11, 30]}


class Late(looking.Look):
    """A look whose answer has come after so many questions."""

    patience = 3

    def __init__(self, *tensors):
        super().__init__(*tensors)
        self.asked = 0

    def ready(self):
        self.asked += 1
        return self.asked > self.patience


class Streamer:
    def __init__(self):
        self.columns, self.ends = [], 0

    def put(self, tokens):
        self.columns.append(tokens.tolist())

    def end(self):
        self.ends += 1


@pytest.fixture(params=[1, 5, 16], ids="every {}".format)
def look_every(request):
    return request.param


@pytest.fixture(params=[0, 3, 1000], ids="late by {}".format, autouse=True)
def late(request, monkeypatch):
    from onedraw.generate import loop

    monkeypatch.setattr(Late, "patience", request.param)
    monkeypatch.setattr(loop, "Look", Late)


@pytest.mark.parametrize("details", [False, True])
def test_the_text_is_that_of_a_look_at_each_step(toy, request, look_every, details):
    expected = generate(toy, PROMPTS, **OPTIONS, return_details=details)
    request.getfixturevalue("as_on_a_device")
    got = generate(toy, PROMPTS, **OPTIONS, return_details=details, look_every=look_every)
    if details:
        assert got.finish_reasons == expected.finish_reasons
        assert torch.equal(got.new_lengths, expected.new_lengths)
        for field, other in zip(got.draws, expected.draws, strict=True):
            assert torch.equal(field.nan_to_num(7), other.nan_to_num(7))
        got, expected = got.sequences, expected.sequences
    assert torch.equal(got, expected)


def test_a_streamer_gets_the_same_columns(toy, request, look_every):
    expected, got = Streamer(), Streamer()
    generate(toy, PROMPTS, **OPTIONS, streamer=expected)
    request.getfixturevalue("as_on_a_device")
    generate(toy, PROMPTS, **OPTIONS, streamer=got, look_every=look_every)
    assert got.columns == expected.columns
    assert got.ends == 1


@pytest.mark.usefixtures("as_on_a_device")
def test_the_columns_come_in_bursts(toy):
    seen = []

    def model(ids):
        seen.append(len(streamer.columns) - 1)
        return toy(ids)

    streamer = Streamer()
    generate(model, PROMPTS[:2], max_new_tokens=40, seed=0, streamer=streamer)
    assert len(streamer.columns) == 41
    assert sorted(set(seen)) == [0, 16] + ([32] if Late.patience < 1000 else [])


@pytest.mark.usefixtures("as_on_a_device")
def test_a_bad_row_is_an_error_that_comes_late(toy, look_every):
    def model(ids):
        logits = toy(ids)
        if ids.shape[1] == 6:
            logits[4] = torch.nan
        if ids.shape[1] == 7:
            logits[2] = -torch.inf
        return logits

    with pytest.raises(onedraw.BadRowError) as caught:
        generate(model, PROMPTS, max_new_tokens=40, seed=0, look_every=look_every)
    rows = dict(zip(caught.value.rows, caught.value.statuses, strict=True))
    assert rows[4] == 1
    assert rows in ({4: 1}, {2: 2, 4: 1})


@pytest.mark.usefixtures("as_on_a_device")
def test_a_bad_row_of_the_last_step_is_found(toy):
    def model(ids):
        logits = toy(ids)
        logits[3] = torch.nan if ids.shape[1] == 20 else logits[3]
        return logits

    with pytest.raises(onedraw.BadRowError, match="row 3 has a NaN"):
        generate(model, PROMPTS, max_new_tokens=20, seed=0)


@pytest.mark.usefixtures("as_on_a_device")
def test_an_interrupted_run_has_shown_all_it_has(toy):
    def model(ids):
        if ids.shape[1] == 22:
            raise KeyboardInterrupt
        return toy(ids)

    streamer = Streamer()
    with pytest.raises(GenerationInterrupted) as caught:
        generate(model, PROMPTS, max_new_tokens=40, seed=0, streamer=streamer)
    text = caught.value.result
    assert text.shape[1] == 22
    assert torch.equal(torch.tensor(streamer.columns[1:]).T, text[:, 1:])


@pytest.mark.usefixtures("as_on_a_device")
def test_finished_rows_leave_the_batch(toy):
    generate(toy, PROMPTS, max_new_tokens=120, seed=0, temperature=2.0, eos_token_id=[7, 11, 30])
    batches = [shape[0] for shape in toy.shapes]
    assert batches[0] == 12
    assert batches == sorted(batches, reverse=True)
    assert batches[-1] < 12


def test_mistakes(toy):
    for wrong in (0, -1, 1.5, True):
        with pytest.raises((ValueError, TypeError), match="look_every must be"):
            generate(toy, PROMPTS, max_new_tokens=2, look_every=wrong)
    assert generate(toy, PROMPTS, max_new_tokens=2, look_every=3).shape == (12, 3)
