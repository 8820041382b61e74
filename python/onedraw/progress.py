"""Where a generation is: what its next draw is made with, from which position, and what went wrong so far."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from .arrays import own
from .errors import raise_bad_rows
from .functional import Values
from .params import POSITION, PerRow, per_row
from .prepared import OnHost
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
        self._forget()

    def _forget(self) -> None:
        """Let the next draw prepare its job anew."""
        self._bad, self._ready = self._statuses(), None
        self._latest: Tensor | None = None  # the statuses of the last call
        self._last = largest(self._position)  # of all rows: the range is checked without a look
        self._settled = False

    def _statuses(self) -> Tensor | None:
        """The worst status of each request so far; None where no row was looked at."""
        worst = None if self._ready is None else self._ready.worst()
        if worst is None or self._bad is None:
            return self._bad if worst is None else worst
        return torch.maximum(self._bad.to(worst.device), worst)

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
        return own(self._position)  # type: ignore[no-any-return]

    @position.setter
    def position(self, value: Values) -> None:
        position = own(per_row(POSITION, value))
        requests = requests_in(self._state.requests, {"position": position})
        self._state = replace(self._state, requests=requests)
        self._position = position
        self._forget()

    def reset(self, position: Values = 0) -> None:
        """Begin anew at `position` with the settings that this Sampler was made with.

        `select` is undone, the number of rows is open again unless something was given one a row,
        bad rows are forgotten, and an unseeded Sampler takes a new seed at its next draw.
        """
        checked = own(per_row(POSITION, value=position))
        requests = requests_in(self._origin.requests, {"position": checked})
        self._state = replace(self._origin, requests=requests)
        self._position, self._bad, self._ready = checked, None, None
        self._forget()

    def select(self, rows: Sequence[int] | Tensor) -> None:
        """Keep some rows, in this order: what a batch does when requests are finished.

        Parameters
        ----------
        rows : list or Tensor
            Row numbers, integers [n] in [0, B - 1], or a bool Tensor [B]. Each row takes its
            parameters, seed, stream and position along, so that its tokens do not change. A row
            named twice draws equal noise twice. Of a tensor on a device this is a
            synchronisation.

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
        self._state = self._state.select(chosen)
        if isinstance(self._position, Tensor):
            self._position = own(self._position[chosen.to(self._position.device)])
        self._bad, self._ready = self._statuses(), None
        if self._bad is not None:
            self._bad = self._bad[chosen.to(self._bad.device)]
        self._forget()

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
        return saved(self._state, self._position, self._statuses())

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where the Sampler of `state` was, with its settings in the place of one's own."""
        self._state, self._position, self._bad = loaded(state)
        self._origin, self._ready = self._state, None
        self._forget()

    def __getstate__(self) -> dict[str, Any]:
        """For copy and pickle: the job is left behind and the position is the copy's own."""
        return {
            **self.__dict__,
            "_ready": None,
            "_latest": None,
            "_bad": own(self._statuses()),
            "_position": self.position,
        }
