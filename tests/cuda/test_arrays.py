"""Arrays of other libraries on a device, with no more than `__dlpack__`: what the binding makes of them."""

from typing import Any

import numpy as np
import pytest
import torch

import onedraw
from cuda_array import CudaArray, aligned
from onedraw import _core

SETTINGS: dict[str, Any] = {"temperature": 0.8, "top_k": 40, "top_p": 0.9, "seed": 3, "position": 7}
LOGITS = 3 * torch.randn(3, 1000, generator=torch.Generator().manual_seed(4))


class Foreign:
    """A torch tensor without torch's own protocol."""

    def __init__(self, tensor: torch.Tensor) -> None:
        self.tensor = tensor

    def __dlpack_device__(self) -> Any:
        return self.tensor.__dlpack_device__()

    def __dlpack__(self, **options: Any) -> Any:
        return self.tensor.__dlpack__()


def test_the_kernel_reads_and_writes_them(device):
    """The tokens of a tensor's, in an array's memory; the same where logits are a column apart."""
    size = _core.cuda_workspace_bytes(0, 3, 1000)
    held = {
        "logits": LOGITS.numpy(),
        "wide": np.repeat(LOGITS.numpy(), 2, axis=0)[::2],
        "token": np.full(3, -1, np.int64),
        "status": np.full(3, 9, np.int32),
        "space": aligned(size),
    }
    if device == "cuda":
        tensors = {name: torch.from_numpy(np.ascontiguousarray(a)) for name, a in held.items()}
        arrays: dict[str, Any] = {name: Foreign(t.cuda()) for name, t in tensors.items()}
    else:
        arrays = {name: CudaArray(array) for name, array in held.items()}
    expected = onedraw.sample(LOGITS, **SETTINGS)
    for logits in ("logits", "wide"):
        job: Any = _core.Job()
        for name, value in SETTINGS.items():
            job.set(name, value)
        job.row_stream = True
        for name in ("token", "status"):
            job.output(name, arrays[name])
        job.run_cuda(arrays[logits], arrays["space"])
        if device == "cuda":
            torch.cuda.synchronize()
            held["token"] = arrays["token"].tensor.cpu().numpy()
            held["status"] = arrays["status"].tensor.cpu().numpy()
        assert held["token"].tolist() == expected.tolist()
        assert not held["status"].any()
        held["token"][:] = -1


def test_cupy(device):
    """CuPy itself, through all of the package."""
    if device == "cpu":
        pytest.skip("CuPy makes no arrays without a driver: it brings a CUDA runtime of its own")
    cupy = pytest.importorskip("cupy")
    logits = cupy.asarray(LOGITS.numpy())
    tokens = cupy.from_dlpack(onedraw.sample(logits, **SETTINGS))
    assert tokens.get().tolist() == onedraw.sample(LOGITS, **SETTINGS).tolist()
