"""The CUDA kernel, on a GPU, or executed on the CPU by cuda-on-cpu (device memory is host memory then)."""

import os

import pytest

from onedraw import _core


def missing() -> str | None:
    """Why there is nothing to test."""
    try:
        return None if _core.cuda_device_count() else "no CUDA device"
    except RuntimeError as error:
        return str(error)


@pytest.fixture(scope="session", autouse=True)
def _cuda() -> None:
    if reason := missing():
        pytest.skip(reason)


@pytest.fixture(scope="session")
def device() -> str:
    return "cpu" if os.environ.get("CUDA_ON_CPU") else "cuda"
