"""The fixture `kernel`: its tests run on every compiled kernel that this CPU supports."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parent))  # what tests share: answers, compiled, frozen, ...

import compiled


@pytest.fixture(params=compiled.SUPPORTED)
def kernel(request: pytest.FixtureRequest) -> Iterator[str]:
    with compiled.forced(request.param):
        yield request.param


def pytest_report_header() -> str:
    run = f"onedraw kernels tested: {', '.join(compiled.SUPPORTED)}"
    rest = ", ".join(compiled.UNSUPPORTED)
    return f"{run}; compiled, but not supported by this CPU: {rest}" if rest else run
