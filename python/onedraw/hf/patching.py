"""`patch`: plain `model.generate(do_sample=True, ...)` draws through onedraw."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from typing import Any

import torch
import transformers
from torch import Tensor
from transformers.generation.utils import GenerationMixin

from ..arrays import check_fallback, own
from ..params import PerRow
from ..randomness import check_generator
from .drawing import DrawingProcessors
from .rows import check_seed, keys, positions
from .source import check_version, redrawn

__all__ = ["Patch", "patch", "unpatch"]

_lock = threading.Lock()
_active: list[Patch] = []  # the last one is in force
_installed: list[tuple[Any, Any]] = []  # transformers' loop, and what stands in its place


class Patch:
    """A patch in force; leaving it as a context, or `unpatch`, takes it back.

    Attributes
    ----------
    seed, generator, fallback
        As given to `patch`.
    """

    def __init__(self, seed: Any, generator: torch.Generator | None, fallback: str | None) -> None:
        self.seed = list(seed) if isinstance(seed, (list, tuple)) else own(seed)
        self.generator, self.fallback = generator, fallback

    def __enter__(self) -> Patch:
        """Put it in force again, if it was taken back."""
        _add(self)
        return self

    def __exit__(self, *exception: object) -> None:
        """Take it back; patches that were in force beside it stay."""
        _remove(self)

    def _processors(
        self, model: Any, input_ids: Tensor, processors: Any, config: Any, inputs: dict[str, Any]
    ) -> DrawingProcessors:
        """Logits processors that draw, for one `generate` of rows [R, T]."""
        rows = input_ids.shape[0]
        key = keys(self.seed, self.generator, rows, config.num_return_sequences or 1)
        return DrawingProcessors(
            processors,
            scores=bool(config.return_dict_in_generate and config.output_scores),
            fallback=self.fallback,
            seed=key.seed,
            stream=key.stream,
            position=_begin(model, input_ids, inputs),
        )


def patch(
    seed: int | list[int] | Tensor | None = None,
    *,
    generator: torch.Generator | None = None,
    fallback: str | None = None,
) -> Patch:
    """Let `model.generate(do_sample=True, ...)` of every transformers model draw through onedraw.

    Only the lines of transformers' loop that draw are replaced: everything else is its own code, with
    its options in their meaning and order. Where the list of logits processors ends in temperature,
    top-k, top-p and min-p, in this order, one draw does all of these (with ``ties="keep"``); what
    comes before runs as it is, and a list that ends in something else runs whole.

    Parameters
    ----------
    seed : int, or one a row, optional
        In [-2^63, 2^64 - 1]. From one, prompt b gets ``onedraw.seeds(seed, range(B))[b]``, and its
        sample j the stream j, as in `onedraw.generate`. One a row, or one a prompt, are taken as they
        are (list or Tensor). Every `generate` begins with it anew: the same prompts, the same text.
        Without, each `generate` takes one from `generator`.
    generator : torch.Generator, optional
        By default torch's own of the CPU, so that ``torch.manual_seed`` reproduces a run.
    fallback : {"cpu"}, optional
        For models on a device without a kernel, as in `onedraw.sample`.

    Returns
    -------
    Patch
        Is in force already. As a context manager it is taken back at the end.

    Raises
    ------
    RuntimeError
        This version of transformers is too old, or its loop is not one that is known: nothing is
        changed then.
    BadRowError
        From `generate`: a row of logits has a NaN, or nothing left to draw. On a device this is
        found at the end, which is a synchronisation; nothing here waits before.

    Notes
    -----
    It holds for the whole process, all threads and all models: the newest patch that was not taken
    back is in force, and a `generate` keeps the one that it began with. Beams, assisted decoding,
    `do_sample=False`, `generate_batch`, a `custom_generate`, and the few models with a loop of their
    own do what they did before.

    The position of a draw is the token's index in its text, the prompt included and padding not:
    with one seed a row, a request's text depends neither on its batch mates nor on padding, as long as
    its logits do not.

    With ``output_scores=True`` the scores are what transformers shows, -inf where they are cut. Cuts
    are onedraw's: exact in top-p, and of tokens equal to the last one kept all are kept. The tokens
    are the same with and without.

    Examples
    --------
    >>> import onedraw, torch, transformers
    >>> config = transformers.GPT2Config(
    ...     vocab_size=50, n_embd=8, n_layer=1, n_head=1, n_positions=64
    ... )
    >>> model = transformers.GPT2LMHeadModel(
    ...     config.__class__(**{**config.to_dict(), "eos_token_id": 49})
    ... )
    >>> prompt = torch.tensor([[3, 1, 4]])
    >>> options = {"do_sample": True, "top_p": 0.9, "max_new_tokens": 5, "pad_token_id": 0}
    >>> with onedraw.hf.patch(seed=7):
    ...     text = model.generate(prompt, **options)
    >>> with onedraw.hf.patch(seed=7):
    ...     again = model.generate(prompt, **options)
    >>> torch.equal(text, again)
    True
    """
    check_fallback(fallback)
    if generator is not None:
        check_generator(generator)
    check_seed(seed, generator)
    made = Patch(seed, generator, fallback)
    _add(made)
    return made


def unpatch() -> None:
    """Take back every patch: `generate` is transformers' own again. Without a patch, nothing.

    Examples
    --------
    >>> import onedraw
    >>> _ = onedraw.hf.patch(seed=1)
    >>> onedraw.hf.unpatch()
    """
    with _lock:
        _active.clear()
        _uninstall()


def _add(made: Patch) -> None:
    with _lock:
        if not _installed:
            _install()
        if made not in _active:
            _active.append(made)


def _remove(made: Patch) -> None:
    with _lock:
        if made in _active:
            _active.remove(made)
        if not _active:
            _uninstall()


def _install() -> None:
    check_version(transformers.__version__)
    theirs = GenerationMixin._sample
    ours = _loop(theirs, redrawn(theirs, transformers.__version__))
    GenerationMixin._sample = ours
    _installed.append((theirs, ours))


def _uninstall() -> None:
    if _installed:
        theirs, ours = _installed.pop()
        # What somebody put on top of ours stays, and finds no patch in force.
        if GenerationMixin._sample is ours:
            GenerationMixin._sample = theirs


def _loop(theirs: Callable[..., Any], changed: Callable[..., Any]) -> Callable[..., Any]:
    """The loop of transformers as long as no patch is in force, and the changed one under one."""

    @functools.wraps(theirs)
    def _sample(
        self: Any,
        input_ids: Tensor,
        logits_processor: Any,
        stopping_criteria: Any,
        generation_config: Any,
        *args: Any,
        **kwargs: Any,
    ) -> Any:
        with _lock:
            current = _active[-1] if _active else None
        # An assistant's draws belong to assisted decoding, which compares their probabilities.
        if (
            current is None
            or not generation_config.do_sample
            or getattr(generation_config, "is_assistant", False)
        ):
            return theirs(
                self,
                input_ids,
                logits_processor,
                stopping_criteria,
                generation_config,
                *args,
                **kwargs,
            )
        drawing = current._processors(self, input_ids, logits_processor, generation_config, kwargs)
        result = changed(
            self, input_ids, drawing, stopping_criteria, generation_config, *args, **kwargs
        )
        drawing.sampler.check()
        return result

    return _sample


def _begin(model: Any, input_ids: Tensor, inputs: dict[str, Any]) -> PerRow:
    """The position of the first token drawn: the prompts' true lengths [R], or one for all.

    Of an encoder-decoder model the text is the decoder's, its start token included. Without a mask
    nothing is padding.
    """
    rows, length = input_ids.shape[:2]
    whole = getattr(model.config, "is_encoder_decoder", False)
    mask = inputs.get("decoder_attention_mask" if whole else "attention_mask")
    if isinstance(mask, Tensor) and mask.dim() == 2 and mask.shape[0] == rows:
        seen = mask.shape[
            1
        ]  # more than `length` with embeddings, or with a cache of earlier tokens
        if seen == length or (seen > length and not whole):
            return positions(mask)
    embeds = inputs.get("inputs_embeds")  # a prompt of which input_ids has no tokens
    return max(length, embeds.shape[1]) if isinstance(embeds, Tensor) else length
