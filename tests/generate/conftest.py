"""The models of these tests, each made once."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from toys import Toy, tiny


@pytest.fixture(autouse=True)
def small_networks(one_thread):
    """Every test here is of networks of a few thousand weights."""


@pytest.fixture
def as_on_a_device(monkeypatch):
    """Rows that are finished are found and dropped every 16 steps only."""
    from onedraw.generate import api, stopping

    monkeypatch.setattr(
        api,
        "Stopping",
        lambda limits, eos, criteria, at_once: stopping.Stopping(limits, eos, criteria, False),
    )


@pytest.fixture
def toy():
    return Toy()


@pytest.fixture(scope="session")
def llama_once():
    return tiny("llama")


@pytest.fixture
def llama(llama_once):
    """A tiny Llama whose generation config a test may change."""
    transformers = pytest.importorskip("transformers")
    llama_once.generation_config = transformers.GenerationConfig()
    return llama_once


@pytest.fixture(scope="session", params=["llama", "gpt2", "mistral"])
def network(request):
    """One of each: grouped heads with sdpa, learned positions, a sliding window of 6 tokens."""
    return tiny(request.param, **({"sliding_window": 6} if request.param == "mistral" else {}))


@pytest.fixture(scope="session")
def letters():
    """A tokenizer of transformers whose token i is one or two letters."""
    transformers = pytest.importorskip("transformers")
    tokenizers = pytest.importorskip("tokenizers")
    words = list("abcdefghijklmnopqrstuvwxyz") + [a + b for a in "stop" for b in "stopxy"]
    vocab = {word: index for index, word in enumerate(words)}
    model = tokenizers.models.WordLevel(vocab, unk_token="a")
    backend = tokenizers.Tokenizer(model)
    backend.pre_tokenizer = tokenizers.pre_tokenizers.Split("", "isolated")
    backend.decoder = tokenizers.decoders.Fuse()
    return transformers.PreTrainedTokenizerFast(tokenizer_object=backend)
