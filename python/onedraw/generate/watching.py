"""Showing a run while it happens: a streamer that gets the tokens, a bar that counts them."""

from __future__ import annotations

import sys
from typing import Any

from torch import Tensor

__all__ = ["Watch", "bar", "check_streamer"]

LONG = 8  # rows from which on a run on a terminal shows a bar by itself ...
DELAY = 2.0  # ... once it has taken so many seconds


def bar(progress: bool | None, rows: int, total: int, *, streamed: bool) -> Any:
    """A bar of tqdm (which comes with transformers) for `total` tokens, or None."""
    if progress is False or (
        progress is None and (streamed or rows < LONG or not sys.stderr.isatty())
    ):
        return None
    try:
        from tqdm import tqdm
    except ImportError:
        if progress:
            raise ImportError("progress=True needs tqdm: pip install 'onedraw[hf]'") from None
        return None
    return tqdm(
        total=total,
        unit=" tokens",
        delay=0 if progress else DELAY,
        leave=bool(progress),
    )


def check_streamer(streamer: object) -> None:
    """Refuse what is neither None nor of transformers' kind: put(tokens), end()."""
    if streamer is not None and not all(
        callable(getattr(streamer, name, None)) for name in ("put", "end")
    ):
        raise TypeError(
            f"streamer must have put(tokens) and end(), got a {type(streamer).__name__}"
        )


class Watch:
    """Who gets to see the tokens. The streamer is one of transformers' kind: put(prompt), put(tokens), end()."""

    def __init__(
        self, streamer: Any = None, progress: bool | None = None, rows: int = 1, total: int = 0
    ) -> None:
        check_streamer(streamer)
        self.steps = 0  # shown so far
        self.streamer = streamer
        self.progress = bar(progress, rows, total, streamed=streamer is not None)

    @property
    def watched(self) -> bool:
        """Whether anybody sees the tokens."""
        return self.streamer is not None or self.progress is not None

    def prompt(self, tokens: Tensor) -> None:
        """Show the prompts [B, T]."""
        if self.streamer is not None:
            self.streamer.put(tokens.cpu())

    def step(self, column: Tensor, drawn: int) -> None:
        """Show one token a row, [R], pad where a row has finished; `drawn` of them are new."""
        self.steps += 1
        if self.streamer is not None:
            self.streamer.put(column.cpu().clone())
        if self.progress is not None:
            self.progress.update(drawn)

    def end(self) -> None:
        """Let the streamer write what it held back, and close the bar."""
        try:
            if self.streamer is not None:
                self.streamer.end()
        finally:
            if self.progress is not None:
                self.progress.close()
