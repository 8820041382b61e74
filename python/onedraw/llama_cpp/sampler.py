"""`sampler`: what a user holds."""

from __future__ import annotations

from typing import Any

from ..errors import shown
from ..params import FIELDS, POSITION, SamplingParams, merge, number
from ..randomness import needs_seed
from .attaching import Attachment
from .drawing import Drawing
from .interface import alive, new

__all__ = ["LlamaCppSampler", "sampler"]


class LlamaCppSampler:
    """A sampler for llama.cpp, made by `sampler`."""

    def __init__(self, params: SamplingParams, position: int) -> None:
        self._params = params
        self._drawing = Drawing(params, position)
        self._pointer: Any = None

    @property
    def pointer(self) -> Any:
        """The `llama_sampler *` for ``llama_sampler_chain_add``, the same each time.

        The chain owns it, and frees it; outside of a chain ``llama_sampler_free`` does.
        """
        if self._pointer is None:
            self._pointer = new(self._drawing)
        elif not alive(self._drawing):
            raise ValueError("pointer must not be used any more: llama.cpp has freed this sampler")
        return self._pointer

    @property
    def position(self) -> int:
        """The index of the next token in its text: it goes on by one with each accepted token."""
        return self._drawing.position

    @position.setter
    def position(self, value: int) -> None:
        self._drawing.position = int(number(POSITION, value))

    def reset(self, position: int | None = None) -> None:
        """Begin anew at `position`, by default where it began before; errors are forgotten.

        What ``llama_sampler_reset`` does too. A sampler without a seed takes a new one.
        """
        first = None if position is None else int(number(POSITION, position))
        self._drawing.reset(first)

    def check(self) -> None:
        """Raise what went wrong since the last check: BadRowError for logits with a NaN, say.

        llama.cpp lets no exception through; the token was then some candidate.
        """
        self._drawing.check()

    def attach(self, llm: Any) -> Attachment:
        """Let a `llama_cpp.Llama` draw all its texts by these settings.

        Parameters
        ----------
        llm : llama_cpp.Llama
            Whose `create_completion`, `create_chat_completion`, `generate` and `sample` are to draw
            through onedraw. Its penalties, grammar, bias and logits processors stay; temperature,
            top-k, top-p, min-p and seed of its calls change nothing.

        Returns
        -------
        Attachment
            Is in force already; as a context manager it is taken back at the end.

        Raises
        ------
        RuntimeError
            A sampler is attached already, or this version of llama-cpp-python is not known.

        Notes
        -----
        Each text begins anew with the seed; its positions are those of its tokens, the prompt
        included. What goes wrong in a draw is raised by the call that draws.
        """
        return Attachment(llm, lambda position: Drawing(self._params, position, quiet=True))


def sampler(
    params: SamplingParams | None = None,
    *,
    temperature: float | None = None,
    top_k: int | None = None,
    top_p: float | None = None,
    min_p: float | None = None,
    ties: str | None = None,
    seed: int | None = None,
    stream: int | None = None,
    position: int = 0,
) -> LlamaCppSampler:
    """Make a sampler that draws llama.cpp's tokens by onedraw's kernel.

    Parameters
    ----------
    params : SamplingParams, optional
        Settings; a keyword wins over them.
    temperature, top_k, top_p, min_p, ties, seed, stream : optional
        As in `onedraw.sample`, one each. Without a seed one is taken from torch's generator, once a
        text, so that ``torch.manual_seed`` reproduces.
    position : int
        In a chain of one's own, the index of the first token that llama.cpp is going to accept: 0 if
        the prompt's tokens are accepted too, else the length of the prompt. (Attached to a `Llama`,
        positions are known.)

    Returns
    -------
    LlamaCppSampler
        Its `attach` is for a `Llama`, its `pointer` for a chain.

    Notes
    -----
    The token is that of `onedraw.sample` with the logits of the candidates, -inf for all other
    tokens, and the same parameters, seed, stream and position, bit for bit.

    Examples
    --------
    >>> import ctypes, llama_cpp, onedraw.llama_cpp, torch
    >>> chain = llama_cpp.llama_sampler_chain_init(llama_cpp.llama_sampler_chain_default_params())
    >>> ours = onedraw.llama_cpp.sampler(temperature=0.8, seed=7, position=5)
    >>> llama_cpp.llama_sampler_chain_add(chain, ours.pointer)
    >>> three = (llama_cpp.llama_token_data * 3)((0, 1.5, 0), (1, 2.5, 0), (2, 0.5, 0))
    >>> array = llama_cpp.llama_token_data_array(data=three, size=3, selected=-1, sorted=False)
    >>> llama_cpp.llama_sampler_apply(chain, ctypes.byref(array))
    >>> ours.check()
    >>> token = three[array.selected].id
    >>> logits = torch.tensor([1.5, 2.5, 0.5])
    >>> token == onedraw.sample(logits, temperature=0.8, seed=7, position=5).item()
    True
    >>> llama_cpp.llama_sampler_accept(chain, token)
    >>> ours.position
    6
    >>> llama_cpp.llama_sampler_free(chain)
    """
    given: tuple[Any, ...] = (temperature, top_k, top_p, min_p, ties, seed, stream)
    if params is not None:
        if not isinstance(params, SamplingParams):
            raise TypeError(f"params must be a SamplingParams, got {shown(params)}")
        given = merge(params, *given)
    made = SamplingParams(**dict(zip(FIELDS, given, strict=True)))
    if made.seed is None:
        needs_seed("stream", made.stream)
    return LlamaCppSampler(made, int(number(POSITION, position)))
