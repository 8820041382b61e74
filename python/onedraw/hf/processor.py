"""`OneDraw`: a logits processor that draws the token itself."""

from __future__ import annotations

import math
import sys
from typing import Any

import torch
from torch import Tensor
from transformers import LogitsProcessor

from ..arrays import own, plain
from ..errors import shown
from ..functional import Bias, Params, Values
from ..params import SEED, STREAM, PerRow, merge, per_row
from ..randomness import check_generator, needs_seed
from ..sampler import Sampler
from ..state import own_bias, own_filters, own_mask
from .rows import check_seed, keys, positions

__all__ = ["OneDraw"]

CALLERS = 8  # how far up a search is looked for: the list of processors is the first, it the next
ROWWISE = ("temperature", "top_k", "top_p", "min_p", "stream")


class OneDraw(LogitsProcessor):  # type: ignore[misc]
    """Draws a token a row, and leaves 0 at it and -inf elsewhere: float [R, V] -> [R, V].

    Whatever `generate` does then, ``do_sample=True`` or ``False``, it takes that token. Give it as the
    last of ``logits_processor=[...]``: processors before it, and those that `generate` makes from its
    options (repetition penalty, least length, bad words, ...), act before the draw. The temperature and
    the filters are OneDraw's own arguments; those of `generate` come after it, and find one token.

    Parameters
    ----------
    temperature, top_k, top_p, min_p, ties, params, allowed, logit_bias, generator, raise_on_bad, fallback
        As in `Sampler`; each of the first four a number, or one a row, samples of one prompt being
        rows of their own.
    seed : int, or one a row, optional
        From one, row r gets ``onedraw.seeds(seed, range(R))[r]``. Without, one is taken from
        `generator`, by default torch's own, at each beginning of a text.
    stream : int, or one a row, optional
        By default 0. Needs `seed`.
    attention_mask : Tensor, optional
        [B, T], the one that a decoder-only model is given: 0 on padding. R is B times
        `num_return_sequences`.

    Raises
    ------
    ValueError, TypeError
        Names the parameter, what is allowed and what was given: when it is made, or at the first
        token what has not one value a row, or a mask that is not the prompt's.
    RuntimeError
        Beam search: it needs the scores of all tokens, and would go on from one alone.
    BadRowError
        A row has a NaN, or nothing left to draw (on a device when `check` is called).

    Notes
    -----
    The noise of a token is a function of (seed, stream, position), and the position is the number of
    tokens before it. A processor is not told what is padding: with `attention_mask` padding does not
    count, without it does, and a prompt's text then depends on how far it was padded. For an
    encoder-decoder model the text is the decoder's, its start token included, and the mask of the encoder
    must be left out.

    A OneDraw may be given to one `generate` after the other, of other prompts and batches too; with
    an `attention_mask` they must be the prompts of that. Where a text is exactly one token longer than
    the last one seen, it is taken to go on; `reset` says that it does not. That matters without a seed
    alone: one taken before is then used on, at a new position.

    With ``output_scores=True`` the scores are these rows of one token, so that
    `compute_transition_scores` gives 0; ``output_logits=True`` shows the model's logits, as always.

    One OneDraw is for one `generate` at a time.

    Under assisted decoding the text is, given equal logits, the one that is written without; the
    assistant draws with the same noise, and so guesses what is drawn more often.

    Nothing waits for a device.

    Examples
    --------
    >>> import onedraw, torch
    >>> processor = onedraw.hf.OneDraw(top_k=2, seed=0)
    >>> ids, scores = torch.tensor([[5, 6]]), torch.tensor([[0.0, 3.0, 2.0]])
    >>> processor(ids, scores)
    tensor([[-inf, -inf, 0.]])

    >>> drawn = onedraw.sample(scores, top_k=2, seed=onedraw.seeds(0, [0]), position=2)
    >>> int(drawn), int(processor(ids, scores).argmax())
    (2, 2)
    """

    def __init__(
        self,
        temperature: Values = None,
        top_k: Values = None,
        top_p: Values = None,
        min_p: Values = None,
        *,
        ties: str | None = None,
        seed: Values = None,
        stream: Values = None,
        generator: torch.Generator | None = None,
        params: Params = None,
        allowed: Tensor | None = None,
        logit_bias: Bias = None,
        attention_mask: Tensor | None = None,
        raise_on_bad: bool = True,
        fallback: str | None = None,
    ) -> None:
        given = (temperature, top_k, top_p, min_p, ties, seed, stream)
        if params is not None:
            given = merge(params, *given)
        *filters, ties, seed, stream = given
        self._settings: dict[str, Any] = own_filters(*filters) | {
            "ties": ties,
            "allowed": own_mask(allowed),
            "logit_bias": own_bias(logit_bias),
            "raise_on_bad": raise_on_bad,
            "fallback": fallback,
        }
        if generator is not None:
            check_generator(generator)
        check_seed(seed, generator)
        if seed is None:
            needs_seed("stream", stream)
        else:
            seed = seed if isinstance(seed, (list, tuple)) else own(per_row(SEED, seed))
            self._settings["stream"] = None if stream is None else own(per_row(STREAM, stream))
        Sampler(**self._settings | {"seed": None if seed is None else 0})  # for its checks
        self._seed, self._generator = seed, generator
        self._rows = len(params) if isinstance(params, (list, tuple)) else None
        self._padded: tuple[PerRow, int] | None = None
        if attention_mask is not None:
            mask = plain(attention_mask, "attention_mask")
            if mask.dim() != 2:
                raise ValueError(f"attention_mask must be [B, T], got {shown(mask)}")
            self._padded = positions(mask), mask.shape[1]
        self.reset()

    def reset(self) -> None:
        """Take the next call for the beginning of a text."""
        self._sampler: Sampler | None = None
        self._next = -1  # the length at which the text goes on
        self._of = -1  # the number of rows
        self._start = 0  # the length of the text where `attention_mask` ends

    def check(self) -> None:
        """Raise BadRowError for the rows that were bad since the text began.

        With ``raise_on_bad=False``, and on a device in any case, this is where one learns of them.
        On a device it is a synchronisation.
        """
        if self._sampler is not None:
            self._sampler.check()

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Draw from the scores [R, V] behind the tokens [R, T]."""
        if input_ids.dim() != 2 or scores.shape[:-1] != input_ids.shape[:1]:
            raise ValueError(
                "scores must be [R, V] with a row for each of input_ids (continuous batching has "
                f"others, and is not supported), got {shown(scores)} and {shown(input_ids)}"
            )
        _refuse_beams()
        rows, length = input_ids.shape
        sampler = self._sampler
        if sampler is None or length != self._next or rows != self._of:
            sampler = self._begin(rows, length)
        # transformers' scores are float32; a processor of the user's may have made them wider
        token = sampler(scores.float() if scores.dtype is torch.float64 else scores, keepdim=True)
        self._next = length + 1
        return torch.full_like(scores, -math.inf).scatter_(1, token, 0.0)

    def _begin(self, rows: int, length: int) -> Sampler:
        """A Sampler for the next tokens of `rows` texts that are `length` tokens long."""
        if self._rows not in (None, rows):
            raise ValueError(f"params must have one entry a row, {rows}, got {self._rows}")
        for name, value in self._settings.items():
            if name in ROWWISE and isinstance(value, Tensor) and value.shape[0] != rows:
                raise ValueError(f"{name} must have one value a row, {rows}, got {value.shape[0]}")
        position = self._position(rows, length)
        key = keys(self._seed, self._generator, rows)
        made = Sampler(**self._settings | {"seed": key.seed}, position=position)
        self._sampler, self._of = made, rows
        return made

    def _position(self, rows: int, length: int) -> PerRow:
        """How many tokens are before the next one, padding left out where it is known."""
        if self._padded is None:
            return length
        lengths, width = self._padded
        fresh = self._next < 0 or rows != self._of or length > self._next
        if fresh:  # a model that is given embeddings has none of the prompt in `input_ids`
            self._start = 0 if length == 0 else width
        prompts = lengths.shape[0] if isinstance(lengths, Tensor) else None
        known = prompts is None or (prompts > 0 and rows % prompts == 0)
        if length < self._start or (fresh and length != self._start) or not known:
            raise ValueError(
                "attention_mask must be that of the prompt, for a decoder-only model (an encoder's is "
                f"to be left out): got one of {prompts or 'equal'} rows and {width} tokens, and a text "
                f"of {rows} rows and {length} tokens"
            )
        more = length - self._start
        if isinstance(lengths, Tensor):
            return lengths.repeat_interleave(rows // lengths.shape[0]) + more
        return int(lengths) + more


def _refuse_beams() -> None:
    """Raise if it is a beam search that calls; its scores alone do not show that."""
    frame = sys._getframe(1).f_back
    for _ in range(CALLERS):
        if frame is None:
            return
        module = frame.f_globals.get("__name__", "")
        if "beam_search" in frame.f_code.co_name and module.startswith("transformers."):
            raise RuntimeError(
                "num_beams must be 1 with OneDraw: beam search needs the scores of all tokens, and "
                "OneDraw leaves one"
            )
        frame = frame.f_back
