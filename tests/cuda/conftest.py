"""The CUDA kernel, on a GPU, or executed on the CPU by cuda-on-cpu (device memory is host memory then)."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch

from onedraw import _core, devices


def missing() -> str | None:
    """Why there is nothing to test."""
    try:
        return None if _core.cuda_device_count() else "no CUDA device"
    except RuntimeError as error:
        return str(error)


@pytest.fixture(scope="session", autouse=True)
def _cuda() -> None:
    reason = missing()
    if reason and os.environ.get("ONEDRAW_TEST_CUDA"):  # who sets it has brought a device
        pytest.fail(reason)
    if reason:
        pytest.skip(reason)


@pytest.fixture(scope="session")
def device() -> str:
    return "cpu" if os.environ.get("CUDA_ON_CPU") else "cuda"


class Place:
    """The device: moves tensors there, and where the stand-in's memory is the host's says so to the package."""

    def __init__(self, device: str) -> None:
        self.device = device

    def __call__(self, value: Any) -> Any:
        return value.to(self.device) if isinstance(value, torch.Tensor) else value

    @contextmanager
    def here(self) -> Iterator[None]:
        with pytest.MonkeyPatch.context() as patch:
            if self.device == "cpu":
                patch.setattr(devices, "on_cuda", lambda x: True)
            yield


@pytest.fixture(scope="session")
def cuda(device: str) -> Place:
    return Place(device)
