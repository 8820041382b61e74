"""An array of CuPy as the others see it: `__dlpack__`, `__dlpack_device__`, and CUDA as its device.

CuPy itself makes no array where there is no driver: it brings a CUDA runtime of its own.
"""

import ctypes
from typing import Any

import numpy as np
from numpy.typing import NDArray

CUDA = 2  # kDLCUDA

_pointer = ctypes.pythonapi.PyCapsule_GetPointer
_pointer.restype, _pointer.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]


class CudaArray:
    """A NumPy array that says it is on a CUDA device, as it is under cuda-on-cpu."""

    def __init__(self, array: NDArray[Any]) -> None:
        self.array = array
        self.streams: list[Any] = []  # that it was asked for

    def __dlpack_device__(self) -> tuple[int, int]:
        return CUDA, 0

    def __dlpack__(self, *, stream: Any = None, max_version: Any = None) -> Any:
        self.streams.append(stream)
        capsule = self.array.__dlpack__()
        managed = _pointer(capsule, b"dltensor")
        # A DLTensor begins with the address of its data, and the type of its device.
        ctypes.c_int32.from_address(managed + ctypes.sizeof(ctypes.c_void_p)).value = CUDA
        return capsule


def aligned(size: int, to: int = 16) -> NDArray[np.uint8]:
    """uint8 [size], zero, as a workspace must lie."""
    whole = np.zeros(size + to, np.uint8)
    start = -whole.ctypes.data % to
    return whole[start : start + size]
