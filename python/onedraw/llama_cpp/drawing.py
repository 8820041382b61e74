"""One text's draws: settings, a position, and the first error that could not be raised."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch

from .. import _core, ops
from ..errors import raise_bad_rows
from ..params import (
    MIN_P,
    SEED,
    STREAM,
    TEMPERATURE,
    TOP_K,
    TOP_P,
    SamplingParams,
    number,
    ties_keep,
)
from ..randomness import check_range, seed_from
from .candidates import Candidates

__all__ = ["Drawing"]

RULES = (TEMPERATURE, TOP_K, TOP_P, MIN_P, SEED, STREAM)


class Drawing:
    """What a sampler of llama.cpp remembers.

    Attributes
    ----------
    position : int
        The index of the token to be drawn next in its text.
    error : BaseException or None
        What has gone wrong inside of llama.cpp, through which no exception gets.
    quiet : bool
        Whether somebody calls `check` after each draw, so that nothing need be said at once.
    """

    def __init__(self, params: SamplingParams, first: int, quiet: bool = False) -> None:
        self._given, self._first, self.quiet = params, first, quiet
        self._candidates = Candidates()
        self._token = torch.zeros(1, dtype=torch.int64, device="cpu")
        self._status = ops.StatusBuffer(1)
        self.reset()

    def reset(self, first: int | None = None) -> None:
        """Begin a text anew; without a seed of its own, with a new one."""
        if first is not None:
            self._first = first
        self._settle(self._given)
        self.position = self._first
        self.error: BaseException | None = None

    def _settle(self, params: SamplingParams) -> None:
        self._params, self._job = params, _core.Job()
        for rule in RULES:
            value = getattr(params, rule.name)
            if value is not None:
                self._job.set(rule.name, number(rule, value))
        self._job.ties_keep = ties_keep(params.ties)
        self._job.output("token", self._token)
        self._job.output("status", self._status.tensor)

    def seed(self) -> None:
        """Take a seed where there is none."""
        if self._params.seed is None and self._params.temperature != 0:
            self._settle(replace(self._params, seed=seed_from(None)))

    def copy(self) -> Drawing:
        """Another one that draws what this one would."""
        self.seed()
        made = Drawing(self._given, self._first, self.quiet)
        made.take(self)
        return made

    def take(self, other: Drawing) -> None:
        """Go on where `other` is, with its settings."""
        other.seed()
        self._given, self._first = other._given, other._first
        self._settle(other._params)
        self.position, self.error = other.position, other.error

    def select(self, array: Any) -> None:
        """Draw one of llama.cpp's candidates, and select it; of a bad row see `fail`."""
        check_range("position", self.position, 1, "token")
        row = self._candidates.read(array)
        self.seed()
        self._job.set("position", self.position)
        ops.run(self._job, row)
        if self._status.bad():
            raise_bad_rows(self._status.tensor)
        array.selected = self._candidates.index(int(self._token.item()))

    def fail(self, error: BaseException, array: Any) -> None:
        """Keep `error` for `check`, and select a candidate: llama.cpp ends the process without one.

        It is one that is not at -inf, if there is such a one: a grammar ends the process, too, where
        it is told of a token that it has excluded.
        """
        if self.error is None:
            self.error = error
        if array.size:
            array.selected = self._candidates.open(array)

    def check(self) -> None:
        """Raise what has gone wrong, once."""
        error, self.error = self.error, None
        if error is not None:
            raise error
