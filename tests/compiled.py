"""The compiled kernels, and a way to run a piece of a test on one of them."""

from collections.abc import Iterator
from contextlib import contextmanager

from onedraw import _core

SUPPORTED = [k["name"] for k in _core.kernels() if k["supported"]]
UNSUPPORTED = [k["name"] for k in _core.kernels() if not k["supported"]]


@contextmanager
def forced(name: str) -> Iterator[None]:
    """Run the body on the kernel of this name; outside, the library chooses again."""
    _core.set_kernel(name)
    try:
        yield
    finally:
        _core.set_kernel(None)
