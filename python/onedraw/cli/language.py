"""A loaded model with its tokenizer, in the words that the commands need."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from onedraw import _core, models
from onedraw.cli.manners import CommandError

__all__ = ["Language", "load"]


@dataclass(frozen=True)
class Language:
    """`model` and `tokenizer` are transformers'; `name` is what the user called them."""

    name: str
    model: Any
    tokenizer: Any

    @property
    def context_length(self) -> int | None:
        """How many tokens the model can look at; None if it does not say."""
        length = getattr(self.model.config, "max_position_embeddings", None)
        return length if isinstance(length, int) and length > 0 else None

    def encode(self, text: str) -> list[int]:
        """Turn a prompt into token ids; refuse one that is empty or longer than the context."""
        ids = [int(i) for i in self.tokenizer(text)["input_ids"]]
        if not ids:
            raise CommandError("the prompt is empty", 2)
        if self.context_length is not None and len(ids) > self.context_length:
            raise CommandError(
                f"the prompt must have at most {self.context_length} tokens, "
                f"the context of this model, got {len(ids)}",
                2,
            )
        return ids

    def word(self, token: int) -> str:
        """One token's text."""
        return self.text([token], special=True)

    def text(self, tokens: list[int], special: bool = False) -> str:
        """Several tokens' text, without special ones unless asked for."""
        return str(self.tokenizer.decode(tokens, skip_special_tokens=not special))

    def next_logits(self, text: str) -> torch.Tensor:
        """Float [V], on the CPU: the logits of the token after `text`."""
        ids = torch.tensor([self.encode(text)], device=self.model.device)
        with torch.inference_mode():
            logits: torch.Tensor = self.model(ids).logits[0, -1]
        return logits.cpu()


def load(name: str | None, device: str = "cpu") -> Language:
    """Load a model by name or folder (None is the default one), and put it on a device."""
    place = _device(device)
    try:
        model, tokenizer = models.load(name)
    except models.ModelError as error:
        raise CommandError(str(error)) from None
    if place.type != "cpu":
        model = model.to(place)
    return Language(name or models.DEFAULT, model, tokenizer)


def _device(name: str) -> torch.device:
    """A device that torch and the kernels can use, or one sentence why not."""
    try:
        place = torch.device(name)
        if place.type == "cuda":
            _core.cuda_device_count()
        torch.empty(1, device=place)
    except (RuntimeError, AssertionError) as error:
        why = str(error).splitlines()[0]
        raise CommandError(
            f"--device must be cpu or a CUDA device that works, got {name}: {why}", 2
        ) from None
    if place.type not in ("cpu", "cuda"):
        raise CommandError(f"--device must be cpu or a CUDA device, got {name}", 2)
    return place
