"""Text from a model, token by token: a prompt, a forward pass, a draw, and again.

`loop.py` is the loop. What it asks for logits is a `Decoder`: `callable_model.py` calls a function
on the whole context, `huggingface.py` keeps keys and values in a `cache.py`. Around it: `prompts.py`
and `settings.py` read what the user gave, `checkpoint.py` what the model's files set, `sampling.py`
and `spreading.py` make a Sampler of it; `tape.py` holds the tokens, `hooks.py` calls what the user
gave for each step, `stopping.py` says when a row is finished, `details.py` keeps the record, and
`watching.py` shows it while it happens.
"""

import sys
from types import ModuleType
from typing import Any

from .api import generate
from .details import Generation, GenerationInterrupted

__all__ = ["Generation", "GenerationInterrupted", "generate"]


class _Package(ModuleType):
    """`onedraw.generate` names this package and its function; whichever a loader left there is called."""

    def __call__(self, *args: Any, **options: Any) -> Any:
        return generate(*args, **options)


sys.modules[__name__].__class__ = _Package
