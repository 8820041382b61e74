"""How a command ends: one sentence for a mistake, quiet for a closed pipe, 130 for Ctrl-C."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from typing import ParamSpec

import typer

from onedraw.info import PIPE_CLOSED, drop_output

__all__ = ["INTERRUPTED", "CommandError", "mannered"]

INTERRUPTED = 128 + 2  # as a shell reports a process that SIGINT ended

P = ParamSpec("P")


class CommandError(Exception):
    """What the user should read instead of a stack trace; `status` becomes the exit status."""

    def __init__(self, message: str, status: int = 1) -> None:
        super().__init__(message)
        self.status = status


def mannered(command: Callable[P, None]) -> Callable[P, None]:
    """Turn the ways in which a command can fail into exit statuses."""

    @functools.wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            command(*args, **kwargs)
            sys.stdout.flush()
        except CommandError as error:
            print(f"onedraw: {error}", file=sys.stderr)
            raise typer.Exit(error.status) from None
        except ImportError as error:  # torch, an extra, the extension: the sentence says which
            print(str(error), file=sys.stderr)
            raise typer.Exit(1) from None
        except KeyboardInterrupt:
            raise typer.Exit(INTERRUPTED) from None
        except BrokenPipeError:
            drop_output()
            raise typer.Exit(PIPE_CLOSED) from None

    return run
