"""What a CUDA call refuses, in which words; nothing is launched then."""

import ctypes
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

sys.path.append(str(Path(__file__).parent))

from cuda_job import Case, Prepared, on_cuda, workspace

from onedraw import _core

CUDA = 2  # kDLCUDA


class Elsewhere:
    """A tensor whose capsule names another device."""

    def __init__(self, tensor: torch.Tensor, kind: int, index: int) -> None:
        self.tensor, self.device = tensor, (kind, index)

    def __dlpack__(self, **_: Any) -> Any:
        capsule = self.tensor.__dlpack__()
        get = ctypes.pythonapi.PyCapsule_GetPointer
        get.restype, get.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
        device = ctypes.c_int32 * 2  # the second field of a DLTensor, behind its address
        device.from_address(get(capsule, b"dltensor") + 8)[:] = self.device
        return capsule


def prepared(device: str, **settings: Any) -> tuple[Prepared, torch.Tensor]:
    case = Case(torch.zeros(3, 5000), {"seed": 1, "position": 2, **settings})
    return Prepared(case, device), workspace(case, device)


def refused(one: Prepared, logits: Any, space: Any, words: str, **more: Any) -> None:
    with pytest.raises((ValueError, TypeError, RuntimeError), match=words):
        one.job.run_cuda(logits, space, **more)
    assert all((x == 1).all() for x in one.answer().values())  # as they were


def test_a_workspace_that_is_too_small(device):
    one, space = prepared(device)
    refused(one, one.logits, space[:-1], "workspace")
    refused(one, one.logits, space[:0], "workspace")


def test_a_workspace_of_another_kind(device):
    one, space = prepared(device)
    refused(one, one.logits, space.float(), "workspace")
    refused(one, one.logits, space.repeat(2)[::2], "workspace")
    refused(one, one.logits, [0] * len(space), "workspace")


def test_a_workspace_at_an_odd_address(device):
    one, space = prepared(device)
    moved = torch.cat([space, space])[8:]
    refused(one, one.logits, moved, "aligned to 16 bytes")


@pytest.mark.parametrize("settings", [{"temperature": 0.5}, {"top_k": 3}, {"top_p": torch.ones(3)}])
def test_weights_have_no_filters(device, settings):
    case = Case(torch.ones(3, 70), settings, {"weights": True}, outputs=("token",))
    one = Prepared(case, device)
    refused(one, one.logits, workspace(case, device), "weights have no t")


def test_the_worst_status_is_kept_on_a_device_alone():
    job = _core.Job()
    job.output("worst", torch.zeros(1, dtype=torch.int32))
    with pytest.raises(ValueError, match="worst is an output on a device alone"):
        job.run(torch.zeros(1, 5))


def test_tensors_on_other_devices(device):
    one, space = prepared(device)
    kind = CUDA if device == "cuda" else 1
    refused(one, one.logits, Elsewhere(space, kind, 1), "workspace")
    refused(one, Elsewhere(one.logits, kind, 1), space, "not on the device of the logits")
    other, space = prepared(device, seed=Elsewhere(torch.arange(3).to(device), kind, 1))
    refused(other, other.logits, space, "seed is not on the device of the logits")
    refused(one, Elsewhere(one.logits, 12, 0), space, "logits are not on a CUDA device")


def test_logits_that_cannot_be_read(device):
    one, space = prepared(device)
    x = one.logits
    for logits, words in [
        (x.double(), "float32, float16 or bfloat16"),
        (x.long(), "float32, float16 or bfloat16"),
        (x.T, "contiguous"),
        (x[:, ::2], "contiguous"),
        (x[None, None], r"\[V\], \[B, V\] or \[B, T, V\]"),
        (x.to("meta"), "meta"),
        (x[:, :0], "vocabulary is empty"),
        (torch.zeros(1, device=device).expand(3, (1 << 22) + 1), "contiguous"),
        (torch.zeros((1 << 22) + 1, device=device), "vocabulary"),
        (x.tolist(), "tensor"),
        (None, "tensor"),
    ]:
        refused(one, logits, space, words)


def test_parameters_of_another_length(device):
    for name, dtype in {"temperature": torch.float32, "seed": torch.int64}.items():
        one, space = prepared(device, **{name: torch.ones(2, dtype=dtype)})
        refused(one, one.logits, space, f"{name} has 2 values for 3 requests")


def test_positions_that_cannot_advance(device):
    one, space = prepared(device)
    refused(one, one.logits, space, "position", advance=True)
    steps = Case(torch.zeros(3, 2, 50), {"position": torch.arange(3)})
    one = Prepared(steps, device)
    refused(one, one.logits, workspace(steps, device), "position", advance=True)


def test_parameters_out_of_range_are_a_status(device):
    """Of one row each: those beside it are drawn from."""
    bad = {
        "temperature": [-1.0, float("nan"), 1e-7, 2e6, float("inf")],
        "top_p": [0.0, -0.5, 1.5, float("nan")],
        "min_p": [-0.1, 1.1, float("nan")],
    }
    x = torch.randn(3, 5000, generator=torch.Generator().manual_seed(0))
    for name, values in bad.items():
        for value in values:
            good = 0.5
            case = Case(x, {name: torch.tensor([good, value, good])}, {"bad_token": 17})
            got = on_cuda(case, device)
            assert got["status"].tolist() == [0, 3, 0]
            assert got["token"][1] == 17
            case.settings = {name: good}
            plain = on_cuda(case, device)
            assert torch.equal(got["token"][[0, 2]], plain["token"][[0, 2]])


def test_no_rows(device):
    one, space = prepared(device)
    one.job.run_cuda(one.logits[:0], space)
    assert all((x == 1).all() for x in one.answer().values())


def test_arrays_of_numpy(device):
    if device != "cpu":
        pytest.skip("NumPy's memory is no device's")
    x = np.random.default_rng(0).normal(size=(2, 500)).astype(np.float32)
    tokens = np.zeros(2, np.int64)
    job = _core.Job()
    job.set("seed", np.array([3, 4]))
    job.output("token", tokens)
    job.run_cuda(x, np.zeros(_core.cuda_workspace_bytes(0, 2, 500), np.uint8))
    settings = {"seed": torch.tensor([3, 4]), "position": 0}
    expected = on_cuda(Case(torch.from_numpy(x), settings), device)
    assert tokens.tolist() == expected["token"].flatten().tolist()


def test_a_launch_that_fails_names_the_kernel(device, monkeypatch):
    if device != "cpu":
        pytest.skip("a launch fails where cuda-on-cpu is told to refuse it")
    one, space = prepared(device)
    monkeypatch.setenv("PTX_SMEM_MAX", "8")
    refused(one, one.logits, space, "the launch of onedraw's kernel")
    monkeypatch.delenv("PTX_SMEM_MAX")
    one.job.run_cuda(one.logits, space)
    assert one.answer()["status"].tolist() == [0, 0, 0]
