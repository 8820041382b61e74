"""The table of commands."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer

from onedraw.cli import bench, generate, inspect
from onedraw.cli.options import Json
from onedraw.info import main as describe

__all__ = ["app", "run"]

app = typer.Typer(
    name="onedraw",
    help="Logits to tokens in one reproducible draw.",
    epilog='Start with: onedraw generate "The man walked the cat"',
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command(short_help="Write text.", epilog=generate.EXAMPLES)(generate.generate)
app.command(short_help="Show the next token's probabilities.", epilog=inspect.EXAMPLES)(
    inspect.inspect
)
app.command(short_help="Compare speeds on this machine.", epilog=bench.EXAMPLES)(bench.bench)


@app.command(short_help="Describe this installation.")
def info(json_: Json = False) -> None:
    """Describe this installation: versions, processor, kernels, build, CUDA, environment."""
    raise typer.Exit(describe(["--json"] if json_ else [], program="onedraw info"))


@app.callback(invoke_without_command=True)
def root(
    version: Annotated[bool, typer.Option("--version", help="Print the version and stop.")] = False,
) -> None:
    """Logits to tokens in one reproducible draw."""
    if version:
        from onedraw import SPEC_VERSION, __version__

        print(f"onedraw {__version__}, specification {SPEC_VERSION}")
        raise typer.Exit


def run(words: Sequence[str]) -> int:
    """Run one command; the exit status."""
    try:
        app(args=list(words), prog_name="onedraw")
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    return 0
