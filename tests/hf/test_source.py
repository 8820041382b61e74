"""Which loops are recognised, and what of them is replaced."""

import importlib
import inspect
import linecache
import traceback

import pytest
import torch
import transformers
from networks import prompts
from transformers import GenerationMixin

import onedraw
from onedraw.hf.source import check_version, redrawn

THEIRS = inspect.getsource(GenerationMixin._sample)
DRAW = "next_tokens = torch.multinomial(probs, num_samples=1).squeeze(1)"


def method(source, folder, monkeypatch):
    """A loop with this source, as an installed transformers would have it."""
    folder.joinpath("another_loop.py").write_text("class GenerationMixin:\n" + source)
    monkeypatch.syspath_prepend(folder)
    head = "from __future__ import annotations\nfrom transformers.generation.utils import *\n"
    folder.joinpath("another_loop.py").write_text(head + "class GenerationMixin:\n" + source)
    importlib.invalidate_caches()
    module = importlib.import_module("another_loop")
    importlib.reload(module)
    made = module.GenerationMixin._sample
    made.__module__ = "transformers.generation.utils"
    return made


def test_only_the_drawing_lines_go():
    made = redrawn(GenerationMixin._sample, transformers.__version__).__code__
    theirs = GenerationMixin._sample.__code__

    def lines(code):
        return {line for _, _, line in code.co_lines() if line is not None}

    source, first = inspect.getsourcelines(GenerationMixin._sample)
    gone = {source[line - first].strip() for line in lines(theirs) - lines(made)}
    assert gone == {"probs = nn.functional.softmax(next_token_scores, dim=-1)"}
    assert lines(made) <= lines(theirs)
    assert made.co_filename == theirs.co_filename
    assert "multinomial" not in made.co_names
    assert {"argmax", "next_tokens"} <= set(made.co_names)


def test_the_signature_stays():
    """transformers reads it, to tell a custom loop's own arguments."""
    theirs = inspect.signature(GenerationMixin._sample)
    with onedraw.hf.patch():
        assert inspect.signature(GenerationMixin._sample) == theirs
        assert GenerationMixin._sample.__doc__


def test_a_traceback_shows_the_installed_file(llama):
    def stop(input_ids, scores, **kwargs):
        raise ZeroDivisionError

    with onedraw.hf.patch(), pytest.raises(ZeroDivisionError) as caught:
        llama.generate(**prompts(llama), max_new_tokens=2, do_sample=True, stopping_criteria=[stop])
    shown = [frame.line for frame in traceback.extract_tb(caught.tb) if frame.name == "_sample"]
    assert "stopping_criteria(input_ids, scores)" in shown[-1]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (DRAW, DRAW.replace("torch.multinomial(", "sampled(")),
        (DRAW, DRAW + "\n                    next_tokens = next_tokens + 0"),
        ("if do_sample:", "if do_sample and True:"),
        ("next_token_scores = logits_processor(", "next_token_scores = logits_processor[0]("),
        ("scores += (next_token_scores,)", "scores += (next_token_scores.clone(),)"),
        ("# finished sentences", "next_token_scores = None\n                # finished"),
        ("streamer.end()", "streamer.end(logits_processor)"),
    ],
)
def test_an_unknown_loop_is_refused(tmp_path, monkeypatch, old, new):
    assert THEIRS.count(old) == 1 or old == "if do_sample:"
    if "\n" in new and "self._optimize_model_for_decode():\n                model_inputs" in THEIRS:
        pytest.skip("another indentation")
    source = THEIRS.replace(old, new)
    indent = THEIRS.split(DRAW)[0].rsplit("\n", 1)[1]
    source = source.replace(
        "\n                    next_tokens = next", f"\n{indent}next_tokens = next"
    )
    source = source.replace("\n                # finished", f"\n{indent[4:]}# finished")
    loop = method(source, tmp_path, monkeypatch)
    with pytest.raises(RuntimeError, match=r"does not know the loop of transformers 9\.9.*nothing"):
        redrawn(loop, "9.9")


def test_the_known_loop_in_another_file(tmp_path, monkeypatch):
    """What the refusals above begin from is accepted."""
    assert redrawn(method(THEIRS, tmp_path, monkeypatch), "9.9").__name__ == "_sample"


def test_a_loop_that_was_replaced_is_refused(monkeypatch):
    def other(self, *args, **kwargs):
        raise AssertionError

    monkeypatch.setattr(GenerationMixin, "_sample", other)
    with pytest.raises(RuntimeError, match="_sample was replaced by"):
        onedraw.hf.patch()
    assert GenerationMixin._sample is other
    monkeypatch.undo()


def test_a_source_that_cannot_be_read(monkeypatch):
    monkeypatch.setattr(inspect, "getsourcelines", lambda _: (_ for _ in ()).throw(OSError("gone")))
    with pytest.raises(RuntimeError, match=r"its source cannot be read \(gone\)"):
        onedraw.hf.patch()


def test_a_source_that_is_not_what_runs(tmp_path, monkeypatch):
    """As after an upgrade under a running process."""
    loop = method(THEIRS, tmp_path, monkeypatch)
    file = tmp_path / "another_loop.py"
    file.write_text(file.read_text().replace("this_peer_finished = False", "finished = False"))
    linecache.checkcache()
    with pytest.raises(RuntimeError, match="its source is not what runs"):
        redrawn(loop, "9.9")


@pytest.mark.parametrize("version", ["4.57.6", "5.0.0", "5.1.0", "5.1.0.dev0"])
def test_an_old_version_is_refused(monkeypatch, version):
    theirs = GenerationMixin._sample
    monkeypatch.setattr(transformers, "__version__", version)
    with pytest.raises(RuntimeError, match=r"needs transformers 5\.2 or later, got " + version):
        onedraw.hf.patch()
    assert GenerationMixin._sample is theirs


@pytest.mark.parametrize("version", ["5.2.0", "5.24.0", "5.30.0.dev0", "6.0"])
def test_versions_that_are_looked_at(version):
    check_version(version)


def test_torch_is_untouched():
    multinomial, softmax = torch.multinomial, torch.nn.functional.softmax
    with onedraw.hf.patch():
        assert torch.multinomial is multinomial
        assert torch.nn.functional.softmax is softmax
