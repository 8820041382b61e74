"""The models of these tests, each made once; no test leaves a patch behind."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent / "statistics"))
sys.path.insert(0, str(Path(__file__).parent))

from networks import DECODERS, ENCODER_DECODERS, tiny

import onedraw


@pytest.fixture(autouse=True)
def small_networks(one_thread):
    """Every test here is of networks of a few thousand weights."""


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
