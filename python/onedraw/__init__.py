"""Logits to tokens: one fused draw, the same answer everywhere.

Where torch or the extension is missing, importing this still succeeds, so that ``python -m
onedraw.info`` can say what is wrong; every name then raises the reason.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from . import hf as hf
    from . import llama_cpp as llama_cpp

try:
    from ._core import SPEC_VERSION, build_info
    from .errors import BadRowError
    from .functional import draw, kept_mask, probs, sample
    from .generate import generate
    from .params import SamplingParams
    from .randomness import seeds
    from .results import Draw
    from .sampler import Sampler
    from .weights import multinomial

    __version__: str = build_info()["version"]

    def __getattr__(name: str) -> object:
        # They need transformers, which takes seconds to import, and llama-cpp-python.
        if name in ("hf", "llama_cpp"):
            return import_module(f"onedraw.{name}")
        raise AttributeError(f"module 'onedraw' has no attribute {name!r}")

except ImportError as error:
    _reason = error

    def __getattr__(name: str) -> object:
        if name.startswith("__"):
            raise AttributeError(name)
        raise ImportError(
            f"onedraw cannot be used here: {_reason} (python -m onedraw.info says more)"
        ) from _reason


__all__ = [
    "SPEC_VERSION",
    "BadRowError",
    "Draw",
    "Sampler",
    "SamplingParams",
    "__version__",
    "draw",
    "generate",
    "kept_mask",
    "multinomial",
    "probs",
    "sample",
    "seeds",
]
