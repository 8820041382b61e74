"""The loop: logits, draw, tape, stop; and the rows that have finished leave the batch.

On a device nothing in a step waits for it. The host asks every few steps which rows are finished and
reads the answer when it has come, up to as many steps later; what was drawn after the end of a row is
pad by then, and bad rows and what a streamer is shown come just as late.
"""

from __future__ import annotations

import time
from contextlib import suppress
from typing import Any, Protocol

import torch
from torch import Tensor

from .. import devices
from ..errors import BadRowError
from ..sampler import Sampler
from .details import Recorder
from .graph import GraphedSteps
from .hooks import Processing
from .looking import Look
from .stopping import Stopping, without
from .tape import Tape
from .watching import Watch

__all__ = ["LOOK_EVERY", "Decoder", "Loop"]

LOOK_EVERY = 16  # steps on a device between two looks at which rows are finished
LEAVE = 8  # rows leave the batch once they are an eighth of it: moving the others costs, too


class Decoder(Protocol):
    """Where logits come from."""

    def prefill(self) -> Tensor:
        """[R, V]: the logits after the prompts."""

    def step(self, token: Tensor) -> Tensor:
        """[r, V]: the logits after the newest token of each row, `token` [r], which is on the tape already."""

    def select(self, rows: Tensor) -> None:
        """Go on with some of the present rows."""


class Loop:
    """One run of R rows: `tape` and `stopping` always hold all of them, `rows` says which are in the batch."""

    def __init__(
        self,
        decoder: Decoder,
        sampler: Sampler,
        tape: Tape,
        stopping: Stopping,
        watch: Watch,
        recorder: Recorder | None = None,
        *,
        min_new: int = 0,
        eos: tuple[int, ...] = (),
        allowed: Any = None,
        look_every: int = LOOK_EVERY,
        graphed: GraphedSteps | None = None,
        processing: Processing | None = None,
    ) -> None:
        self.decoder, self.sampler = decoder, sampler
        self.tape, self.stopping = tape, stopping
        self.watch, self.recorder = watch, recorder
        self.min_new = min_new if eos else 0
        self.eos, self.allowed = eos, allowed
        self.unfinished: Tensor | None = None  # `allowed` without the end tokens
        self.rows: Tensor | None = None  # int64 [r] of the rows in the batch; None: all
        self.present = torch.arange(tape.tokens.shape[0], device="cpu")  # the same on the host
        self.seconds = self.sampling_seconds = 0.0
        self.look_every = look_every
        self.graphed, self.processing = graphed, processing
        # Processors may keep something for each row, as may who goes on with the rows that are finished.
        self.stays = graphed is not None or processing is not None or not stopping.blank
        self.look: Look | None = None
        self.shown = tape.start  # columns of the tape that have been asked for

    def run(self) -> None:
        """Draw until every row has finished."""
        began = time.perf_counter()
        try:
            self._run()
        except KeyboardInterrupt:
            with suppress(BadRowError):
                self._see_the_rest()
            raise
        finally:
            self.seconds = time.perf_counter() - began

    def _run(self) -> None:
        steps = self.tape.tokens.shape[1] - self.tape.start
        if steps == 0 or self.stopping.running == 0:
            return
        at_once = self.stopping.at_once
        logits = self.decoder.prefill()
        for step in range(steps):
            token = self._draw_running(logits, step) if at_once else self._draw(logits, step)
            if token is None:
                return
            column = self.tape.write(token, self.rows)
            drawn = self.stopping.running
            self.stopping.observe(self.tape, column, self.processing and self.processing.scores)
            if at_once:
                self.watch.step(column, drawn)
            if step + 1 == steps:
                break
            if self._shrink() if at_once else self._look(step + 1):
                return
            if self.graphed is not None and step + 1 >= self.min_new:
                self._run_graphed(self.graphed, column, range(step + 1, steps))
                return
            logits = self.decoder.step(column if self.rows is None else column[self.rows])
        self._see_the_rest()

    def _run_graphed(self, graphed: GraphedSteps, column: Tensor, steps: range) -> None:
        """Let a graph do the rest of the steps."""
        graphed.begin(column)
        for step in steps:
            graphed.run()
            if step + 1 not in steps or self._look(step + 1):
                break
        self._see_the_rest()

    def _draw_running(self, logits: Tensor, step: int) -> Tensor | None:
        """`_draw`; rows that are bad, but finished, leave the batch first. None if no other is left.

        What a model gives after the end of a row is nobody's error. A refused draw has not moved the
        Sampler, so that the others draw at the second attempt what they would have drawn at the first.
        """
        try:
            return self._draw(logits, step)
        except BadRowError as error:
            bad = self._running(error)
            if bad is not None:
                raise bad from None
        keep = self._leave(self.stopping.done)
        return self._draw(logits[keep], step) if keep.numel() else None

    def _draw(self, logits: Tensor, step: int) -> Tensor:
        """One token of each row in the batch, int64 [r]."""
        if self.processing is not None:
            logits = self.processing(self.tape.text(None), logits)
        mask = self._mask(logits) if step < self.min_new else None
        began = time.perf_counter()
        if self.recorder is None:
            token = self.sampler(logits, allowed=mask)
        else:
            options = self.recorder.options(logits.shape[-1])
            draw = self.sampler.draw(logits, allowed=mask, **options)
            token = draw.token
        self.sampling_seconds += time.perf_counter() - began
        if self.recorder is not None:
            self.recorder.keep(draw, step, self.rows)
        if self.stays or not self.stopping.at_once:
            status = self.sampler.status if self.recorder is None else draw.status
            self.stopping.note(status, self.rows)
            if self.stopping.at_once:
                self._refuse(self.stopping.status)
        return token

    def _mask(self, logits: Tensor) -> Tensor:
        """What may be drawn while no row may end."""
        if self.unfinished is None:
            mask = without(self.allowed, self.eos, logits.shape[-1])
            self.unfinished = devices.stage(mask, logits.device)
        mask = self.unfinished
        return mask if self.rows is None or mask.dim() == 1 else mask[self.rows]

    def _look(self, step: int) -> bool:
        """Take in what has come from the device, ask for more; whether every row had finished by then."""
        due = step % self.look_every == 0
        if self.look is not None and (due or self.look.ready()) and self._take_in(self.look):
            return True
        if due:
            self._ask()
        return False

    def _ask(self) -> None:
        """Let the state of the rows, and the columns that somebody watches, come to the host."""
        first, last = self.shown, self.tape.end
        columns = self.tape.tokens[:, first if self.watch.watched else last : last]
        self.look = Look(self.stopping.facts(), columns)
        self.shown = last

    def _take_in(self, look: Look) -> bool:
        """Show the columns, raise for bad rows, let finished ones leave; whether all have finished."""
        facts, columns = look.read()
        self.look = None
        done, length, status = facts[0] != 0, facts[1], facts[2]
        first = self.watch.steps
        for at, column in enumerate(columns.unbind(1)):
            drawn = int((~done | (length > first + at)).sum())
            if drawn:
                self.watch.step(column, drawn)
        self._refuse(status)
        self.stopping.running = int((~done).sum())
        return self._shrink(done)

    def _refuse(self, status: Tensor) -> None:
        """Raise for bad rows; `status` [R] is on the host, 0 for rows that had finished."""
        bad = status.nonzero().flatten().tolist()
        if bad:
            raise BadRowError(tuple(bad), tuple(status[bad].tolist()))

    def _see_the_rest(self) -> None:
        """Wait for the device, and take in all that it did."""
        if self.stopping.at_once:
            return
        for pending in (True, False):
            if not pending:
                self._ask()
            if self.look is not None:
                self._take_in(self.look)

    def _shrink(self, done: Tensor | None = None) -> bool:
        """Let finished rows leave the batch when it pays; whether all have finished."""
        running = self.stopping.running
        gone = self.present.numel() - running
        pays = gone * LEAVE >= self.present.numel() and not self.stays
        if running and gone and pays:
            self._leave(self.stopping.done if done is None else done)
        return running == 0

    def _leave(self, done: Tensor) -> Tensor:
        """Go on without the rows that are `done`, [R] on the host; returns which of the present ones stay."""
        left = (~done).nonzero().flatten()
        keep = torch.searchsorted(self.present, left)
        device = self.tape.tokens.device
        there = devices.stage(keep, device)
        if keep.numel():
            self.decoder.select(there)
            self.sampler.select(keep)
            self.rows, self.present = devices.stage(left, device), left
        return there

    def _running(self, error: BadRowError) -> BadRowError | None:
        """The error with the numbers that rows had at first, less the finished ones; None if it was only these."""
        done, numbers = self.stopping.done.tolist(), self.present.tolist()
        bad = [
            (numbers[row], status)
            for row, status in zip(error.rows, error.statuses, strict=True)
            if isinstance(row, int) and not done[numbers[row]]
        ]
        return BadRowError(*zip(*bad, strict=True)) if bad else None
