"""Where a generation is: what its next draw is made with, from which position, and what went wrong so far."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache, partial
from typing import Any

import torch
from torch import Tensor

from . import devices, ops
from .arrays import own
from .errors import raise_bad_rows
from .functional import Values
from .params import POSITION, PerRow, per_row
from .prepared import OnHost, prepared
from .randomness import largest
from .state import State, loaded, requests_in, row_numbers, saved

__all__ = ["Progress"]


class Progress:
    """The part of a Sampler that goes on from draw to draw; `Sampler` is the whole."""

    def __init__(self, state: State, position: PerRow) -> None:
        self._state = self._origin = state
        self._position = position
        self._bad: Tensor | None = None  # the worst status of each request so far
        self._ready: OnHost | None = None
        self._captured: list[OnHost] = []  # that a graph may launch again, of other shapes
        self._retired: list[OnHost] = []  # the same, of settings that are no longer these
        self._turns = devices.Turns()
        self._selected = False  # whether the rows are others than the Sampler was made with
        self._open: PerRow | None = None  # where to begin, while the number of rows is open again
        self._forget(position)

    def _forget(self, position: PerRow) -> None:
        """Let the next draw, at `position`, settle what is not settled."""
        self._latest: Tensor | None = None  # the statuses of the last call
        self._last = largest(position)  # of all rows: the range is checked without a look
        self._settled = False

    def _prepare(self, x: Tensor, fallback: str | None) -> OnHost:
        """Make a job for logits of this shape, or take the one that a graph of such logits has."""
        self._begin_with(x)
        position = self._position
        ready = next((job for job in self._captured if job.fits(x)), None)
        if ready is None:
            ready, position = prepared(x, self._state, position, fallback)
        self._set_aside()
        self._position, self._ready = position, ready
        self._last = max(self._last, largest(position))
        return ready

    def _begin_with(self, x: Tensor) -> None:
        """Let a draw after `reset` be one of other rows than before, or on another device."""
        there = self._position
        if self._open is None or not isinstance(there, Tensor):
            return
        if there.shape != (ops.requests_of(x),) or there.device != x.device:
            self._set_aside()
            self._retire()
            self._position, self._bad = self._open, None

    def _set_aside(self) -> None:
        """Let the next draw prepare its job anew; one that a graph launches lives on."""
        ready = self._ready
        if ready is not None and ready.captured:
            if ready not in self._captured:
                self._captured.append(ready)
        else:
            self._bad = self._statuses()
        self._ready = None

    def _retire(self) -> None:
        """Have nothing to do any more with the jobs of graphs, but for keeping what these read."""
        self._retired += self._captured
        self._captured = []

    def _statuses(self) -> Tensor | None:
        """The worst status of each request so far; None where no row was looked at."""
        self._follow()
        worst = self._bad
        for ready in (self._ready, *self._captured):
            seen = None if ready is None else ready.worst()
            if seen is not None:
                worst = seen if worst is None else torch.maximum(worst.to(seen.device), seen)
        return worst

    def _follow(self) -> None:
        """Let the current stream go on where that of the last draw stopped."""
        if self._turns.key is not None and isinstance(self._position, Tensor):
            self._turns.take(self._position)

    @property
    def status(self) -> Tensor:
        """The statuses of the last call, int32 [...]: 0, or why a row is bad (see `BadRowError`).

        A buffer on the device of the logits, which the next call writes; a record of `draw` has its
        own. To look at it on a device is to wait for it.
        """
        if self._latest is None:
            raise ValueError("status must be asked for after a draw, and before rows are selected")
        return self._latest

    @property
    def position(self) -> PerRow:
        """The index of the next token: an int, or int64 [B] (a copy); it may be set.

        On a CUDA device it is int64 [B] there.
        """
        self._follow()
        return own(self._position)  # type: ignore[no-any-return]

    @position.setter
    def position(self, value: Values) -> None:
        position = own(per_row(POSITION, value))
        requests = requests_in(self._state.requests, {"position": position})
        self._state = replace(self._state, requests=requests)
        if not self._move(position):
            self._set_aside()
            self._position = position
        self._forget(position)

    def _move(self, position: PerRow) -> bool:
        """Write `position` over the positions on a device, where graphs read them, if they are there."""
        there = self._position
        if not isinstance(there, Tensor) or not devices.on_cuda(there):
            return False
        if isinstance(position, Tensor) and position.dim() and position.shape != there.shape:
            return False
        self._follow()
        if isinstance(position, Tensor):
            there.copy_(devices.stage(position, there.device))
        else:
            there.fill_(position)
        return True

    def reset(self, position: Values = 0) -> None:
        """Begin anew at `position` with the settings that this Sampler was made with.

        `select` is undone, the number of rows is open again unless something was given one a row,
        bad rows are forgotten, and an unseeded Sampler takes a new seed at its next draw.
        """
        checked = own(per_row(POSITION, value=position))
        requests = requests_in(self._origin.requests, {"position": checked})
        kept = not self._selected and requests in (None, self._state.requests)
        self._state = replace(self._origin, requests=requests)
        if kept and self._move(checked):
            for ready in (self._ready, *self._captured):
                if ready is not None:
                    ready.forgive()
            self._open = checked if requests is None else None
        else:
            self._set_aside()
            self._retire()
            self._position, self._open, self._selected = checked, None, False
        self._bad = None
        self._forget(checked)

    def select(self, rows: Sequence[int] | Tensor) -> None:
        """Keep some rows, in this order: what a batch does when requests are finished.

        Parameters
        ----------
        rows : list or Tensor
            Row numbers, integers [n] in [0, B - 1], or a bool Tensor [B]. Each row takes its
            parameters, seed, stream and position along, so that its tokens do not change. A row
            named twice draws equal noise twice. A tensor on a device is read by waiting for it;
            a list, or a tensor on the CPU, waits for nothing.

        Examples
        --------
        >>> import onedraw, torch
        >>> sampler, logits = onedraw.Sampler(seed=3), torch.zeros(3, 50)
        >>> alone = onedraw.Sampler(seed=3)
        >>> torch.equal(sampler(logits), alone(logits))
        True
        >>> sampler.select([2])
        >>> bool(sampler(logits[2:]) == alone(logits)[2])
        True
        """
        requests = self._state.requests
        if requests is None:
            raise ValueError(
                "rows must be selected after the first draw: how many there are is not known yet"
            )
        chosen = row_numbers(rows, requests)
        there = cache(partial(devices.stage, chosen))
        state, bad, position = self._state.select(chosen, there), self._statuses(), self.position
        self._set_aside()
        self._retire()
        self._state, self._selected = state, True
        if isinstance(position, Tensor) and position.dim():
            position = own(position[there(position.device)])
        self._position = position
        self._bad = None if bad is None else bad[there(bad.device)]
        self._forget(position)

    def check(self) -> None:
        """Raise BadRowError for the rows that were bad since `reset`, by their present numbers.

        With ``raise_on_bad=False``, and on a device in any case, this is where one learns of them.
        On a device it is a synchronisation.
        """
        bad = self._statuses()
        if bad is not None:
            raise_bad_rows(bad)

    def state_dict(self) -> dict[str, Any]:
        """Give everything that the next draws depend on: numbers and copies of tensors.

        `torch.save` takes it, and `torch.load` needs no more than its safe default.

        Examples
        --------
        >>> import onedraw, torch
        >>> sampler, logits = onedraw.Sampler(top_p=0.9, seed=1), torch.zeros(4, 50)
        >>> _ = sampler(logits)
        >>> other = onedraw.Sampler()
        >>> other.load_state_dict(sampler.state_dict())
        >>> torch.equal(sampler(logits), other(logits))
        True
        """
        return saved(self._state, self.position, self._statuses())

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where the Sampler of `state` was, with its settings in the place of one's own."""
        mine, position, bad = loaded(state)
        self._set_aside()
        self._retire()
        self._state = self._origin = mine
        self._position, self._bad, self._open, self._selected = position, bad, None, False
        self._forget(position)

    def __getstate__(self) -> dict[str, Any]:
        """For copy and pickle: the job is left behind and the position is the copy's own."""
        return {
            **self.__dict__,
            "_ready": None,
            "_latest": None,
            "_captured": [],
            "_retired": [],
            "_turns": devices.Turns(),
            "_bad": own(self._statuses()),
            "_position": self.position,
        }
