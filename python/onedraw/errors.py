"""What the data of a row can be wrong with: a status from the kernel, an error for the user."""

from __future__ import annotations

import reprlib

import numpy as np
from torch import Tensor

__all__ = ["STATUS_TEXT", "BadRowError", "raise_bad_rows", "shown"]

Row = int | tuple[int, ...]

# The statuses of the specification (csrc/spec/README.md, R1.6, R2.5 and R5.5), as the end of a
# sentence.
STATUS_TEXT = {
    1: "has a NaN",
    2: "has no token left (all are -inf, of weight 0, or not allowed)",
    3: "has a weight that is negative or infinite, or on a device a parameter out of range",
    4: "has fewer tokens of positive weight than num_samples, without replacement",
}

ROWS_NAMED = 8


class BadRowError(ValueError):
    """Rows whose data cannot be drawn from; the other rows of the call are not touched by it.

    Attributes
    ----------
    rows : tuple
        The bad rows: ``b`` for logits ``[B, V]`` (0 for ``[V]``), ``(b, t)`` for ``[B, T, V]``.
    statuses : tuple of int
        Why, one a row of `rows`: 1 a NaN, 2 no token left, 3 an invalid weight (or on a device a
        parameter out of range), 4 too few tokens.

    Examples
    --------
    >>> import onedraw, torch
    >>> try:
    ...     onedraw.sample(torch.tensor([[0.0, 1.0], [0.0, float("nan")]]), temperature=0)
    ... except onedraw.BadRowError as error:
    ...     print(error.rows, error)
    (1,) row 1 has a NaN
    """

    def __init__(self, rows: tuple[Row, ...], statuses: tuple[int, ...]) -> None:
        super().__init__(rows, statuses)
        self.rows = rows
        self.statuses = statuses

    def __str__(self) -> str:
        """Name the first rows, each with its reason."""
        named = [
            f"row {row} {STATUS_TEXT.get(status, f'has the status {status}')}"
            for row, status in zip(self.rows, self.statuses, strict=True)
        ]
        more = len(named) - ROWS_NAMED
        return "; ".join(named[:ROWS_NAMED]) + (f"; and {more} more rows" if more > 0 else "")


def raise_bad_rows(status: Tensor) -> None:
    """Raise BadRowError if there are rows whose `status`, int32 [...], is not 0."""
    flat = status.reshape(-1, 1) if status.dim() == 0 else status
    bad = flat.nonzero().tolist()
    if bad:
        rows = tuple(index[0] if status.dim() < 2 else tuple(index) for index in bad)
        statuses = tuple(int(flat[tuple(index)]) for index in bad)
        raise BadRowError(rows, statuses)


def shown(value: object) -> str:
    """`value` as an error shows it: short, and a tensor by its dtype and shape."""
    if isinstance(value, (Tensor, np.ndarray)):
        dtype = str(value.dtype).removeprefix("torch.")
        kind = "tensor" if isinstance(value, Tensor) else "array"
        return f"{dtype} {kind} {list(value.shape)}"
    if isinstance(value, (bool, np.bool_)):
        return f"{value} (a bool)"
    return reprlib.repr(value)
