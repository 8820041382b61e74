"""Streamers, the bar, and Ctrl-C."""

import pytest
import torch

from onedraw.generate import GenerationInterrupted, generate
from onedraw.generate.watching import bar

PROMPTS = [[1, 2], [3, 4]]


class Tape:
    def __init__(self, stop_at=None):
        self.put_, self.ended, self.stop_at = [], 0, stop_at

    def put(self, tokens):
        assert tokens.device.type == "cpu"
        self.put_.append(tokens)
        if self.stop_at is not None and len(self.put_) == self.stop_at:
            raise KeyboardInterrupt

    def end(self):
        self.ended += 1


def test_a_streamer_gets_prompt_and_tokens(toy):
    tape = Tape()
    text = generate(toy, PROMPTS, max_new_tokens=5, seed=0, streamer=tape)
    assert torch.equal(tape.put_[0], torch.tensor(PROMPTS))
    assert torch.equal(torch.stack(tape.put_[1:], dim=1), text[:, 2:])
    assert tape.ended == 1


def test_text_streamer(toy, letters, capsys):
    transformers = pytest.importorskip("transformers")
    streamer = transformers.TextStreamer(letters)
    text = generate(toy, [[1, 2]], max_new_tokens=12, seed=0, streamer=streamer)
    assert capsys.readouterr().out == letters.decode(text[0]) + "\n"


def test_the_streamer_ends_after_an_error(toy):
    tape = Tape()
    with pytest.raises(ValueError, match="model must return"):
        generate(lambda ids: toy(ids)[:, :0], PROMPTS, max_new_tokens=5, streamer=tape)
    assert tape.ended == 1


def test_text_streamer_refuses_a_batch(toy, letters):
    transformers = pytest.importorskip("transformers")
    with pytest.raises(ValueError, match="batch size 1"):
        generate(toy, PROMPTS, max_new_tokens=5, streamer=transformers.TextStreamer(letters))


def test_not_a_streamer(toy):
    with pytest.raises(TypeError, match="streamer must have put"):
        generate(toy, PROMPTS, max_new_tokens=5, streamer=print)


@pytest.mark.parametrize("details", [False, True])
def test_interrupted_in_the_model(toy, details):
    whole = generate(toy, PROMPTS, max_new_tokens=9, seed=0)
    tape = Tape()

    def model(ids):
        if ids.shape[1] == 6:
            raise KeyboardInterrupt
        return toy(ids)

    with pytest.raises(GenerationInterrupted) as caught:
        generate(model, PROMPTS, max_new_tokens=9, seed=0, streamer=tape, return_details=details)
    result = caught.value.result
    assert torch.equal(result.sequences if details else result, whole[:, :6])
    assert torch.equal(torch.stack(tape.put_[1:], dim=1), whole[:, 2:6])
    assert tape.ended == 1
    if details:
        assert result.finish_reasons == ["interrupted"] * 2
        assert len(result.records(0)) == 4


def test_interrupted_in_the_streamer(toy):
    with pytest.raises(KeyboardInterrupt) as caught:
        generate(toy, PROMPTS, max_new_tokens=9, seed=0, streamer=Tape(stop_at=4))
    assert caught.value.result.shape == (2, 5)


def test_a_bar_when_asked(toy, capsys):
    pytest.importorskip("tqdm")
    generate(toy, PROMPTS, max_new_tokens=5, seed=0, progress=True)
    assert "10/10" in capsys.readouterr().err
    generate(toy, PROMPTS, max_new_tokens=5, seed=0)
    assert capsys.readouterr().err == ""


def test_a_bar_by_itself_only_for_many_rows_on_a_terminal(monkeypatch):
    pytest.importorskip("tqdm")
    assert bar(None, 100, 100, streamed=False) is None  # stderr is no terminal here
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    assert bar(None, 1, 100, streamed=False) is None
    assert bar(None, 100, 100, streamed=True) is None
    assert bar(False, 100, 100, streamed=False) is None
    shown = bar(None, 100, 100, streamed=False)
    assert shown is not None
    shown.close()
