"""Text from a model, token by token: a prompt, a forward pass, a draw, and again.

`loop.py` is the loop. What it asks for logits is a `Decoder`: `callable_model.py` calls a function on the
whole context, `huggingface.py` keeps keys and values. Around it: `prompts.py` and `settings.py` read what the
user gave, `checkpoint.py` what the model's files set, `tape.py` holds the tokens, `stopping.py` says when a
row is finished, `details.py` keeps the record, and `watching.py` shows it while it happens.
"""

from .api import generate
from .details import Generation, GenerationInterrupted

__all__ = ["Generation", "GenerationInterrupted", "generate"]
