"""onedraw in the `generate` of Hugging Face transformers.

`OneDraw` is a logits processor that draws the token itself. `patch` lets plain `model.generate` draw
through onedraw. `FastLoop` is a loop for its `custom_generate`. Needs transformers; what each promises
is in ``docs/huggingface.md``.
"""

try:
    import transformers as _transformers  # noqa: F401
except ImportError as error:
    raise ImportError(
        f"onedraw.hf needs transformers: pip install 'onedraw[hf]' ({error})"
    ) from error

from .fast import FastLoop
from .patching import Patch, patch, unpatch
from .processor import OneDraw

__all__ = ["FastLoop", "OneDraw", "Patch", "patch", "unpatch"]
