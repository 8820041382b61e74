"""onedraw as a sampler of llama.cpp, through llama-cpp-python.

`sampler` makes one: for the chains of llama.cpp, or for all that a `llama_cpp.Llama` writes. Needs
llama-cpp-python; what it promises is in ``docs/llama-cpp.md``.
"""

try:
    import llama_cpp as _llama_cpp  # noqa: F401
except ImportError as error:
    raise ImportError(
        f"onedraw.llama_cpp needs llama-cpp-python: pip install 'onedraw[llama-cpp]' ({error})"
    ) from error

from .attaching import Attachment
from .sampler import LlamaCppSampler, sampler

__all__ = ["Attachment", "LlamaCppSampler", "sampler"]
