"""A Hugging Face causal language model: the prompts once, then one token a row with a key-value cache."""

from __future__ import annotations

import inspect
import warnings
from typing import Any

import torch
from torch import Tensor

from .prompts import Prompts
from .tape import Tape

__all__ = ["HuggingFaceDecoder", "check_prompts", "check_static", "context_of", "is_huggingface"]

# What `forward` calls the cache: the first from transformers 5.24 on, the second before.
CACHE_NAMES = ("cache", "past_key_values")

# The implementations of attention whose mask is made without a look at it.
CAPTURABLE = ("sdpa", "eager")


def is_huggingface(model: Any) -> bool:
    """Whether `model` is a language model of transformers (which need not be installed)."""
    return isinstance(model, torch.nn.Module) and all(
        hasattr(model, name) for name in ("config", "generation_config")
    )


def text_config(model: Any) -> Any:
    """The part of the config that is about text."""
    read = getattr(model.config, "get_text_config", None)
    return read(decoder=True) if read else model.config


def forward_parameters(model: Any) -> Any:
    """The names that the model's class takes, under what torch.compile or an adapter wrapped it in."""
    model = getattr(model, "_orig_mod", model)
    base = getattr(model, "get_base_model", None)
    return inspect.signature(type(base() if base else model).forward).parameters


def context_of(model: Any) -> int | None:
    """The longest text that the positions of `model` allow, None where nothing is said."""
    longest = getattr(text_config(model), "max_position_embeddings", None)
    return longest if isinstance(longest, int) and longest > 0 else None


def check_prompts(model: Any, prompts: Prompts, pad: int) -> None:
    """Refuse token ids that the model has no embedding for; warn of padding without a mask."""
    vocab = getattr(text_config(model), "vocab_size", None)
    if isinstance(vocab, int) and prompts.tokens.numel() and int(prompts.tokens.max()) >= vocab:
        raise ValueError(
            f"input_ids must be token ids in [0, {vocab - 1}] for this model, got {int(prompts.tokens.max())}"
        )
    padded = prompts.tokens[:, :1] == pad
    if prompts.mask is None and bool(padded.any()) and not bool(padded.all()):
        warnings.warn(
            f"some rows of input_ids begin with the padding {pad} and no attention_mask is given: it is "
            "read as text",
            UserWarning,
            stacklevel=3,
        )


def check_static(model: Any) -> None:
    """Refuse a model whose steps with a static cache are not all alike, or look at values."""
    base = getattr(model, "_orig_mod", model)
    attention = getattr(text_config(model), "_attn_implementation", None)
    why = None
    if not getattr(base, "_can_compile_fullgraph", False):
        why = "transformers does not say of it that its steps with a static cache can be captured"
    elif attention not in CAPTURABLE:
        why = f"with attn_implementation={attention!r} each step looks at the mask; it can be any of {CAPTURABLE}"
    elif any("dynamic" in str(getattr(part, "rope_type", "")) for part in base.modules()):
        why = "with a dynamic rope_type each step looks at its positions"
    elif len({weight.device for weight in base.parameters()}) > 1:
        why = "it is on several devices"
    if why:
        raise ValueError(f"cuda_graph must be left out for this {type(base).__name__}: {why}")


class HuggingFaceDecoder:
    """Logits of a model of transformers.

    Parameters
    ----------
    model : transformers.PreTrainedModel
    tape : Tape
        Of R = B * samples rows; the samples of a request stand together.
    prompts : Prompts
        B requests, which go through the model once, whatever `samples` is.
    limits : Tensor
        int64 [B]: how many new tokens a request may have.
    samples : int
        Rows of a request.
    context_length : int, optional
        A longer context is cut to so many of the newest tokens; since they all change their positions
        then, each further token costs a pass over the whole context.
    """

    def __init__(
        self,
        model: Any,
        tape: Tape,
        prompts: Prompts,
        limits: Tensor,
        samples: int,
        context_length: int | None,
    ) -> None:
        self.model, self.tape, self.samples = model, tape, samples
        self.context_length = context_length
        self.rows: Tensor | None = None
        takes = forward_parameters(model)
        self.cache_name = next((name for name in CACHE_NAMES if name in takes), "")
        supported = getattr(model, "_supports_default_dynamic_cache", lambda: True)()
        if not self.cache_name or not supported or model.config.is_encoder_decoder:
            raise ValueError(
                f"model must be a decoder with a key-value cache, got {type(model).__name__}: give "
                "lambda ids: model(ids).logits, which reads the whole text for each token"
            )
        self.takes_positions = "position_ids" in takes
        self.takes_columns = "cache_position" in takes
        self.last_only: dict[str, Any] = {"logits_to_keep": 1} if "logits_to_keep" in takes else {}
        self.prompt = prompts
        # int64 [r, T + N], 1 on a prompt and on the new tokens that it may have. A row that is finished, but
        # still in the batch, keeps its last position then: a model may have no further ones.
        self.mask: Tensor | None = None
        if prompts.mask is not None:
            ends = tape.start + limits.to(tape.tokens.device).unsqueeze(1)
            columns = torch.arange(tape.tokens.shape[1], device=tape.tokens.device)
            self.mask = (columns < ends).to(torch.int64)
            self.mask[:, : tape.start] = prompts.mask
        self.cache: Any = None
        self.attends = True  # if not, the padding is over and done with after the prompt

    def prefill(self) -> Tensor:
        """[R, V]: the logits after the prompts."""
        tape, samples = self.tape, self.samples
        if self._full():
            logits = self._whole(self.prompt.tokens)
        else:
            from .cache import attends, new_cache

            padded = self.mask is not None
            self.cache = new_cache(self.model.config, tape.tokens.shape[1], padded=padded)
            self.attends = attends(self.cache)
            logits = self._forward(self.prompt.tokens, 0)
        if samples > 1:
            logits = logits.repeat_interleave(samples, 0)
            if self.mask is not None:
                self.mask = self.mask.repeat_interleave(samples, 0)
            if self.cache is not None:
                self.cache.batch_repeat_interleave(samples)
        return logits

    def step(self, token: Tensor) -> Tensor:
        """[r, V]: the logits after one more token a row, `token` [r], which is on the tape already."""
        if self._full():
            self.cache = None
            return self._whole(self.tape.text(self.rows))
        return self._forward(token.unsqueeze(1), self.tape.end - 1)

    def select(self, rows: Tensor) -> None:
        """Go on with some of the rows."""
        self.rows = rows if self.rows is None else self.rows[rows]
        if self.mask is not None:
            self.mask = self.mask[rows]
        if self.cache is not None:
            self.cache.batch_select_indices(rows)

    def _full(self) -> bool:
        return self.context_length is not None and self.tape.end > self.context_length

    def _forward(self, tokens: Tensor, first: int) -> Tensor:
        """Run columns `first`, ... of the tape through the model, which has seen those before."""
        seen = first == 0 or self.attends
        inputs = self._padding(first, first + tokens.shape[1], 0) if seen else {}
        inputs[self.cache_name] = self.cache
        return self._logits(tokens, inputs, use_cache=True)

    def _whole(self, tokens: Tensor) -> Tensor:
        """Run the newest `context_length` columns of `tokens` [r, end] through the model, without a cache."""
        assert self.context_length is not None
        end = tokens.shape[1]
        first = max(0, end - self.context_length)
        return self._logits(tokens[:, first:], self._padding(first, end, first), use_cache=False)

    def _padding(self, first: int, last: int, seen_from: int) -> dict[str, Any]:
        """What a padded batch needs told: the mask, and the positions of columns `first` to `last`."""
        if self.mask is None:
            return {}
        mask = self.mask[:, seen_from:last]
        inputs: dict[str, Any] = {"attention_mask": mask}
        if self.takes_positions:
            if last - first == 1 and seen_from == 0:
                inputs["position_ids"] = mask.sum(1, keepdim=True) - 1
            else:
                inputs["position_ids"] = (mask.cumsum(1) - 1).clamp_(min=0)
        return inputs

    def _logits(self, tokens: Tensor, inputs: dict[str, Any], *, use_cache: bool) -> Tensor:
        output = self.model(
            input_ids=tokens,
            use_cache=use_cache,
            return_dict=True,
            **inputs,
            **self.last_only,
        )
        logits: Tensor = output.logits[:, -1]
        return logits
