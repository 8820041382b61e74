"""All that a `llama_cpp.Llama` writes, drawn by a sampler of onedraw."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import llama_cpp

from .drawing import Drawing
from .interface import new

__all__ = ["Attachment"]

# The end of a chain of llama-cpp-python at temperature 0, after the user's logits processors, the
# penalties and the grammar.
LAST = b"greedy"


class Attachment:
    """A `Llama` that draws through onedraw, until `detach`, or the end of this as a context.

    Two methods of the one `Llama` are covered, `sample`, and `_init_sampler`, which makes a chain for
    each text: the chain is llama-cpp-python's own, for temperature 0, but for its last sampler.
    """

    def __init__(self, llm: Any, draws: Callable[[int], Drawing]) -> None:
        check(llm)
        self._llm, self._draws = llm, draws
        self._drawing: Drawing | None = None  # of the text that is being written
        self._position = 0
        self._chain_of, self._sample_of = llm._init_sampler, llm.sample
        llm._init_sampler, llm.sample = self._init_sampler, self._sample
        llm._sampler = None  # the chain of the last text, which `sample` would go on with

    def __enter__(self) -> Attachment:
        return self

    def __exit__(self, *exception: object) -> None:
        """Give the `Llama` its own methods back."""
        self.detach()

    def detach(self) -> None:
        """Give the `Llama` its own methods back; a text that has begun goes on as it began."""
        if vars(self._llm).get("sample") == self._sample:
            del self._llm.sample, self._llm._init_sampler
        if self._drawing is not None:
            self._drawing.quiet = False

    def _init_sampler(self, **options: Any) -> Any:
        """Make a chain for a text: that of llama-cpp-python with another end."""
        for name, off in (("mirostat_mode", 0), ("typical_p", 1.0)):
            if options.get(name, off) != off:
                raise ValueError(
                    f"{name} must be {off} where onedraw draws, which does not have it, got "
                    f"{options[name]}"
                )
        chain = self._chain_of(**{**options, "temp": 0.0})
        last = llama_cpp.llama_sampler_chain_n(chain.sampler) - 1
        name = llama_cpp.llama_sampler_name(llama_cpp.llama_sampler_chain_get(chain.sampler, last))
        if name != LAST:
            raise unknown(f"its chain ends in {name!r} instead of {LAST!r}")
        llama_cpp.llama_sampler_free(llama_cpp.llama_sampler_chain_remove(chain.sampler, last))
        self._drawing = self._draws(self._position)
        llama_cpp.llama_sampler_chain_add(chain.sampler, new(self._drawing))
        return chain

    def _sample(self, *args: Any, idx: int | None = None, **options: Any) -> Any:
        """Draw the token behind the one at `idx` of the text, by default its last, and raise."""
        self._position = self._llm.n_tokens if idx is None else idx + 1
        if self._drawing is not None:
            self._drawing.position = self._position
        token = self._sample_of(*args, idx=idx, **options)
        if self._drawing is not None:
            self._drawing.check()
        return token


def check(llm: Any) -> None:
    """Refuse what is no `Llama`, or one that does not have the methods that are to be covered."""
    if not isinstance(llm, llama_cpp.Llama):
        raise TypeError(f"llm must be a llama_cpp.Llama, got a {type(llm).__name__}")
    kind = type(llm)
    for method, parameter in (("_init_sampler", "temp"), ("sample", "idx")):
        function = getattr(kind, method, None)
        if function is None or parameter not in inspect.signature(function).parameters:
            raise unknown(f"Llama.{method} with {parameter}= is missing")
    if {"sample", "_init_sampler"} & vars(llm).keys():
        raise RuntimeError(
            "llm has a sampler attached already, or a sample() of its own: detach it"
        )


def unknown(why: str) -> RuntimeError:
    """An error about this version of llama-cpp-python."""
    return RuntimeError(
        f"llama-cpp-python {llama_cpp.__version__} is not one that onedraw can be attached to ({why}); "
        "the sampler's pointer can be put into a chain of llama.cpp"
    )
