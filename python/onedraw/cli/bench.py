"""`onedraw bench`: how fast this machine draws, next to the usual ways."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from onedraw.cli.manners import CommandError, mannered
from onedraw.cli.options import Json
from onedraw.cli.text import table

if TYPE_CHECKING:
    from onedraw.cli.contest import Result

__all__ = ["EXAMPLES", "bench"]

HEADER = (
    "rows",
    "tokens",
    "filters",
    "floor, us",
    "onedraw, us",
    "onedraw / floor",
    "torch / onedraw",
    "Hugging Face / onedraw",
)


EXAMPLES = """\b
Examples:
  onedraw bench
  onedraw bench --threads 1 --json > bench.jsonl
"""


@mannered
def bench(
    threads: Annotated[
        int | None, typer.Option(min=1, help="Threads for all; without it, torch's own number.")
    ] = None,
    seconds: Annotated[
        float, typer.Option(min=0.01, help="About how long to time each peer in each case.")
    ] = 0.15,
    json_: Json = False,
) -> None:
    """Compare onedraw with the usual torch code and Hugging Face's processors.

    Float32 logits shaped like a language model's, on the CPU. The floor is one streaming read of the
    same logits by the same threads. This is a quick look at sizes that stay in the caches; the
    repository's `make bench` measures properly.
    """
    import torch

    from onedraw import _core
    from onedraw.cli.contest import contest

    if threads is not None:
        torch.set_num_threads(threads)
    results: list[Result] = []
    live = sys.stderr.isatty()
    try:
        for result in contest(seconds):
            results.append(result)
            if live:
                print(f"\r{len(results)} cases done", end="", file=sys.stderr, flush=True)
            if json_:
                record = {
                    "kernel": _core.kernel(),
                    "threads": torch.get_num_threads(),
                    "spec_version": _core.SPEC_VERSION,
                }
                print(json.dumps(record | asdict(result)), flush=True)
    except RuntimeError as error:
        raise CommandError(str(error)) from None
    finally:
        if live:
            print("\r\033[K", end="", file=sys.stderr)
        if results and not json_:
            print(table(HEADER, [_row(result) for result in results], left=[2]))
            print(f"kernel {_core.kernel()}, threads {torch.get_num_threads()}")
            if any(2 * result.onedraw < result.floor for result in results):
                print("onedraw far below the floor: other work took the processor, time it again")


def _row(result: Result) -> list[str]:
    hf = result.huggingface
    return [
        str(result.batch),
        f"{result.vocab:,}",
        result.filters,
        f"{result.floor:,.1f}",
        f"{result.onedraw:,.1f}",
        f"{result.onedraw / result.floor:.2f}",
        f"{result.torch / result.onedraw:,.1f}",
        "-" if hf is None else f"{hf / result.onedraw:,.1f}",
    ]
