"""Fake CUDA tensors in a torch without CUDA: shapes alone, and an error where a value is asked for."""

import ctypes
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch._subclasses import FakeTensorMode
from torch._subclasses.fake_tensor import is_fake, unset_fake_temporarily
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

# What sets the current device before an operator runs; a torch without CUDA has none for it.
GUARD = """
#include <c10/core/impl/DeviceGuardImplInterface.h>
namespace {
using Guard = c10::impl::NoOpDeviceGuardImpl<c10::DeviceType::CUDA>;
C10_REGISTER_GUARD_IMPL(CUDA, Guard);
}
"""


@lru_cache
def install_guard() -> None:
    """Once a process; a build of torch with CUDA has its own."""
    if torch.backends.cuda.is_built():
        return
    root = Path(torch.__file__).parent
    with TemporaryDirectory() as folder:
        source, library = Path(folder, "guard.cpp"), Path(folder, "guard.so")
        source.write_text(GUARD)
        command = ["g++", "-std=c++20", "-O0", "-shared", "-fPIC", f"-I{root / 'include'}"]
        command += [source, f"-L{root / 'lib'}", "-lc10", "-o", library]
        subprocess.run(command, check=True, capture_output=True)
        ctypes.CDLL(str(library))


class NoWaiting(TorchDispatchMode):
    """Refuses what FakeTensorMode lets through though a host would wait: a copy from the device to it."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        source = args[0] if args and isinstance(args[0], torch.Tensor) else None
        if func is torch.ops.aten._to_copy.default and source.is_cuda and not result.is_cuda:
            raise RuntimeError(f"{func} waits for the device")
        return result


class Uploads(TorchDispatchMode):
    """Refuses a copy to the device that the host waits for: of memory that is not pinned, or a blocking one."""

    def __init__(self) -> None:
        super().__init__()
        self.pinned: list[torch.UntypedStorage] = []
        self.made = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        if kwargs.get("pin_memory"):
            self.pinned.append(result.untyped_storage())
        source, queued = args[0] if args else None, kwargs.get("non_blocking", False)
        indexes = func in (torch.ops.aten.index.Tensor, torch.ops.aten.index_put_.default)
        if indexes and source.is_cuda and any(x is not None and not x.is_cuda for x in args[1]):
            raise RuntimeError(f"{func} waits until the device has read which rows")
        if func is torch.ops.aten.copy_.default:
            source, queued = args[1], (args[2] if len(args) > 2 else queued)
        elif func is not torch.ops.aten._to_copy.default:
            return result
        if result.is_cuda and not source.is_cuda and source.dim() and source.numel():
            memory = source.untyped_storage()._cdata
            if not queued or all(memory != storage._cdata for storage in self.pinned):
                raise RuntimeError(f"{func} waits until the device has read {list(source.shape)}")
            self.made += 1
        return result


class RealHost(TorchDispatchMode):
    """Lets what is on the host have values, which may be looked at: of FakeTensorMode's, only the device is fake."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        tensors = [x for x in pytree.tree_leaves((args, kwargs)) if isinstance(x, torch.Tensor)]
        device = torch.device(kwargs.get("device") or "cpu")
        if device.type != "cpu" or kwargs.get("pin_memory") or any(map(is_fake, tensors)):
            return func(*args, **kwargs)
        with unset_fake_temporarily():
            return func(*args, **kwargs)


@contextmanager
def fake_cuda() -> Iterator[None]:
    """In it ``device="cuda"`` makes fake tensors, and nothing can wait for them."""
    install_guard()
    with FakeTensorMode(allow_non_fake_inputs=True), NoWaiting():
        yield
