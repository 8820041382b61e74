"""Text as it comes: tokens in, whole characters out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TextIO

__all__ = ["Streamer"]

CONTEXT = 8  # tokens of the prompt that are decoded along: some tokenizers join what stands apart
INCOMPLETE = "\ufffd"  # what a part of a character decodes to


class Streamer:
    """Writes one row's text to `out` while it is generated, in the form that `generate` wants.

    Examples
    --------
    >>> import sys, torch
    >>> streamer = Streamer(lambda ids: bytes(ids).decode(errors="replace"), sys.stdout, "a")
    >>> streamer.put(torch.tensor([[97]]))
    a
    >>> for token in " caf\u00e9".encode():
    ...     streamer.put(torch.tensor([token]))
     café
    >>> streamer.end()
    """

    def __init__(
        self, decode: Callable[[list[int]], str], out: TextIO, prompt: str | None = None
    ) -> None:
        self.decode, self.out, self.prompt = decode, out, prompt
        self.ids: list[int] = []
        self.from_, self.read = 0, 0  # ids[from_:read] is written, and decoded along once more
        self.started = False

    def put(self, tokens: Any) -> None:
        """Take the prompt [1, T] first, then one token [1] at a time."""
        ids: Sequence[int] = tokens.flatten().tolist()
        self.ids += ids
        if not self.started:
            self.started = True
            self.from_, self.read = max(0, len(self.ids) - CONTEXT), len(self.ids)
            self._write(self.prompt or "")
        else:
            self._advance(final=False)

    def end(self) -> None:
        """Write what was held back."""
        self._advance(final=True)

    def _advance(self, *, final: bool) -> None:
        before = self.decode(self.ids[self.from_ : self.read])
        text = self.decode(self.ids[self.from_ :])
        if len(text) > len(before) and (final or not text.endswith(INCOMPLETE)):
            self._write(text[len(before) :])
            self.from_, self.read = self.read, len(self.ids)

    def _write(self, text: str) -> None:
        if text:
            self.out.write(text)
            self.out.flush()
