"""Numbers and tables as plain text, the same on a terminal and in a pipe."""

from __future__ import annotations

import json
from collections.abc import Sequence

__all__ = ["kept", "percent", "quoted", "table"]


def quoted(token: str) -> str:
    r"""Quote a token's text, so that spaces and line ends show.

    >>> print(quoted(" walk"), quoted("\n"))
    " walk" "\n"
    """
    return json.dumps(token, ensure_ascii=False)


def percent(share: float) -> str:
    """Write a share of one as a percentage.

    >>> percent(0.18722), percent(1.0), percent(0.00012), percent(0.0)
    ('18.7 %', '100.0 %', '0.012 %', '0.0 %')
    """
    value = 100 * share
    return f"{value:.1f} %" if value >= 0.1 or value == 0 else f"{value:.2g} %"


def kept(count: int, share: float) -> str:
    """Say what the filters left.

    >>> print(kept(17, 0.9049))
    17 tokens kept, with 90.5 % of the probability
    """
    noun = "token" if count == 1 else "tokens"
    return f"{count:,} {noun} kept, with {percent(share)} of the probability"


def table(header: Sequence[str], rows: Sequence[Sequence[str]], left: Sequence[int] = ()) -> str:
    """Align columns: the ones in `left` to the left, the others to the right.

    >>> print(table(["token", "share"], [["a", "62.0 %"], ["word", "8.1 %"]], left=[0]))
    token   share
    a      62.0 %
    word    8.1 %
    """
    lines = [header, *rows]
    widths = [max(len(line[i]) for line in lines) for i in range(len(header))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if i in left else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )
