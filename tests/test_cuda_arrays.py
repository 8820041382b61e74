"""Arrays of CUDA of another library, up to the torch tensor that they become; tests/cuda draws from some."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

import onedraw
from cuda_array import CudaArray
from onedraw.arrays import plain

pytestmark = pytest.mark.skipif(
    torch.backends.cuda.is_built(), reason="this torch looks for a device"
)


def test_a_torch_without_cuda_says_so():
    """A TypeError as for any array that torch cannot read."""
    array = CudaArray(np.zeros((2, 100), np.float32))
    with pytest.raises(
        TypeError, match=r"logits must be an array that torch can read.* not compiled with CUDA"
    ):
        onedraw.sample(array, seed=0, position=0)


def test_it_is_read_where_it_is_in_the_order_of_streams(monkeypatch):
    """torch asks the library to be done with it before torch's current stream goes on."""
    monkeypatch.setattr(torch.cuda, "_lazy_init", lambda: None)
    monkeypatch.setattr(
        torch.cuda, "current_stream", lambda device: SimpleNamespace(cuda_stream=77)
    )
    array = CudaArray(np.zeros((2, 100), np.float32))
    tensor = plain(array, "logits")
    assert tensor.device == torch.device("cuda:0")
    assert tensor.data_ptr() == array.array.ctypes.data
    assert array.streams == [77]
