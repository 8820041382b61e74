"""The command line: ``onedraw`` and ``python -m onedraw``."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

# Not `from onedraw import info`: where torch is missing, any name of the package raises.
from onedraw.info import PIPE_CLOSED, drop_output
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
        141 (1 from a help text) the reader of the output went away.
    """
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed by whoever started this
            setattr(sys, name, Path(os.devnull).open("w"))  # noqa: SIM115
    try:
        status = _run(list(sys.argv[1:] if arguments is None else arguments))
        sys.stdout.flush()
        sys.stderr.flush()
    except BrokenPipeError:
        drop_output()
        return PIPE_CLOSED
    return status


def _run(words: list[str]) -> int:
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
