"""The command line: ``onedraw`` and ``python -m onedraw``."""

from __future__ import annotations

import sys
from collections.abc import Sequence

# Not `from onedraw import info`: where torch is missing, any name of the package raises.
from onedraw.info import main as describe

__all__ = ["main"]

MISSING = (
    "onedraw: the command line needs the package {name}; "
    "install it with: pip install 'onedraw[cli,hf]'"
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Parameters
    ----------
    arguments
        The words after ``onedraw``; None takes those of this process.

    Returns
    -------
    int
        The exit status: 0 done, 1 it could not be done, 2 the command line is wrong, 130 interrupted,
        141 the reader of the output went away.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    if words[:1] == ["info"]:  # must work where nothing else does
        try:
            return describe(words[1:], program="onedraw info")
        except SystemExit as end:  # --help, or an option that there is not
            return int(end.code or 0)
    try:
        from onedraw.cli.app import run
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] == "onedraw":
            raise
        print(MISSING.format(name=error.name), file=sys.stderr)
        return 1
    return run(words)


if __name__ == "__main__":
    sys.exit(main())
