"""When a row is finished: at an end token, at a stop string, by a criterion, at its number of tokens."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..arrays import plain
from .hooks import Hook, hits
from .tape import Tape

__all__ = ["CRITERIA", "REASONS", "STOP_STRING", "Check", "Stopping", "string_criterion", "without"]

REASONS = ("interrupted", "eos", "stop_string", "length", "stopping_criteria")
RUNNING, EOS, STOP_STRING, LENGTH, CRITERIA = range(5)


class Check(NamedTuple):
    """A criterion of transformers' kind, and the number of the reason that it is."""

    criterion: Hook  # int64 [R, L] and the scores so far, or None -> bool [R], or one for all
    reason: int


class Stopping:
    """Which of R rows are finished, and why.

    Parameters
    ----------
    limits : Tensor
        int64 [R]: how many new tokens a row may have.
    eos : tuple of int
        Tokens that finish a row; they are part of it.
    checks : sequence of Check
        Are all asked at every step, with all rows, pad behind the finished ones.
    at_once : bool
        Whether to look at each step which rows have finished. On a device that would wait for it:
        then nothing here is looked at, and `facts` are for the host to ask for.
    blank : bool
        Whether pad follows in a finished row. If not, it goes on as long as any other.
    """

    def __init__(
        self,
        limits: Tensor,
        eos: tuple[int, ...] = (),
        checks: Sequence[Check] = (),
        at_once: bool = True,
        blank: bool = True,
    ) -> None:
        self.limits = limits
        self.first_limit = int(limits.min()) if limits.numel() else 0
        self.eos = torch.tensor(eos, dtype=torch.int64, device=limits.device) if eos else None
        self.checks = tuple(checks)
        self.at_once, self.blank = at_once, blank
        self.steps = 0
        self.clock = torch.zeros_like(
            limits[:1].sum()
        )  # the same on the device, where it is asked for
        self.done = limits == 0
        self.length = torch.zeros_like(limits)  # new tokens of a row, once it has finished
        self.reason = torch.full_like(limits, RUNNING, dtype=torch.int8)
        self.reason[self.done] = LENGTH
        self.status = torch.zeros_like(limits)  # the worst of a row before it finished
        self.running = self.look()

    def look(self) -> int:
        """How many rows are not finished; waits for the device."""
        self.running = self.done.numel() - int(self.done.sum())
        return self.running

    def observe(self, tape: Tape, column: Tensor, scores: Any = None) -> None:
        """Take in the newest `column` [R] of `tape`; it becomes pad where a row was finished."""
        self.steps += 1
        if not self.at_once:
            column.copy_(self.take(column, tape.pad))
            self.after_checks(tape, scores)
            return
        if self.blank and self.running < self.done.numel():
            column.masked_fill_(self.done, tape.pad)
        if self.eos is not None:
            self._finish(self._ended(column), EOS)
        for hit, reason in self._asked(tape, scores):
            self._finish(hit, reason)
        if self.steps >= self.first_limit:
            self._finish(self.limits <= self.steps, LENGTH)

    def take(self, token: Tensor, pad: int) -> Tensor:
        """Take in the newest `token` [R] on a device, in the same launches each time; returns the column.

        `after_checks` does the rest, where there are checks.
        """
        self.clock.add_(1)
        column = token.masked_fill(self.done, pad) if self.blank else token
        if self.eos is not None:
            self._mark(self._ended(column), EOS, self.clock)
        if not self.checks:
            self._mark(self.limits <= self.clock, LENGTH, self.clock)
        return column

    def after_checks(self, tape: Tape, scores: Any = None) -> None:
        """Ask the checks about the `tape`, and then look at the limits."""
        if not self.checks:
            return
        for hit, reason in self._asked(tape, scores):
            self._mark(hit, reason, self.clock)
        self._mark(self.limits <= self.clock, LENGTH, self.clock)

    def _asked(self, tape: Tape, scores: Any) -> list[tuple[Tensor, int]]:
        """What each check says, bool [R], and why."""
        if not self.checks:
            return []
        ids = tape.text(None)
        return [(hits(check.criterion, ids, scores), check.reason) for check in self.checks]

    def _ended(self, column: Tensor) -> Tensor:
        assert self.eos is not None
        return column == self.eos if self.eos.numel() == 1 else torch.isin(column, self.eos)

    def _finish(self, hit: Tensor, reason: int) -> None:
        if not bool(hit.any()):
            return
        self._mark(hit, reason, self.steps)
        self.look()

    def _mark(self, hit: Tensor, reason: int, steps: Tensor | int) -> None:
        """Let the rows that are `hit` be finished after so many steps, unseen."""
        new = hit & ~self.done
        self.reason.masked_fill_(new, reason)
        self.length.copy_(torch.where(new, steps, self.length))
        self.done |= new

    def note(self, status: Tensor, rows: Tensor | None) -> None:
        """Remember the `status` [r] of a draw of the rows numbered `rows` (None: all), but for finished ones."""
        new = status.to(self.status)
        if rows is not None:
            new = torch.zeros_like(self.status).index_copy_(0, rows, new)
        torch.maximum(self.status, new.masked_fill(self.done, 0), out=self.status)

    def facts(self) -> Tensor:
        """int64 [3, R]: whether a row has finished, its tokens if so, and its worst status before."""
        return torch.stack([self.done.to(torch.int64), self.length, self.status])

    def lengths(self) -> Tensor:
        """int64 [R]: how many new tokens each row has so far."""
        return torch.where(self.done, self.length, self.steps)

    def reasons(self) -> list[str]:
        """Why each row ended."""
        return [REASONS[code] for code in self.reason.tolist()]


def string_criterion(strings: list[str], tokenizer: Any) -> Any:
    """The criterion of transformers for `strings`, so that they mean the same here."""
    try:
        from transformers import StopStringCriteria
    except ImportError:
        raise ImportError("stop_strings need transformers: pip install 'onedraw[hf]'") from None
    return StopStringCriteria(tokenizer, strings)


def without(allowed: Any, tokens: tuple[int, ...], vocab: int) -> Tensor:
    """`allowed` (bool or int32 bitmask, [C] or [R, C]; None: all) less `tokens`, as a copy."""
    every = torch.ones(vocab, dtype=torch.bool, device="cpu")
    mask = every if allowed is None else plain(allowed, "allowed").clone()
    width = 32 * mask.shape[-1] if mask.dtype is torch.int32 else mask.shape[-1]
    ids = [token for token in tokens if token < min(vocab, width)]
    if mask.dtype is torch.int32:
        for token in ids:
            bit = 1 << token % 32
            mask[..., token // 32] &= ~(bit - 2**32 if bit == 2**31 else bit)
    else:
        for token in ids:  # a list of them would be copied to a device, and waited for
            mask[..., token] = False
    return mask
