"""`onedraw inspect`: the table of next-token probabilities, and what the filters keep."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

import onedraw
from onedraw.cli.manners import CommandError, mannered
from onedraw.cli.options import (
    Device,
    Greedy,
    Json,
    MinP,
    Model,
    Temperature,
    Ties,
    TopK,
    TopP,
    sampling,
)
from onedraw.cli.prompts import single
from onedraw.cli.text import kept, percent, quoted, table

if TYPE_CHECKING:
    from onedraw.cli.look import Look

__all__ = ["EXAMPLES", "inspect"]


EXAMPLES = """\b
Examples:
  onedraw inspect "The man walked the cat" --top 5
  onedraw inspect "The man walked the cat" --top-k 50 --top-p 0.9 --plot next.png
  onedraw inspect "The man walked the cat" --model gpt2 --json
"""


@mannered
def inspect(
    prompt: Annotated[
        str | None, typer.Argument(help="The text so far; without it, standard input.")
    ] = None,
    top: Annotated[int, typer.Option(min=1, help="How many tokens to show.")] = 10,
    temperature: Temperature = None,
    top_k: TopK = None,
    top_p: TopP = None,
    min_p: MinP = None,
    ties: Ties = None,
    greedy: Greedy = False,
    model: Model = None,
    device: Device = "cpu",
    plot: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Draw the table to a picture too.")
    ] = None,
    json_: Json = False,
) -> None:
    """Show the probabilities of the next token, and which filter cuts what.

    The probability of a token is before the filters and after the temperature; `drawn` is what is left
    of it after them: the chance that this token comes next.
    """
    settings = sampling(
        temperature=temperature, top_k=top_k, top_p=top_p, min_p=min_p, ties=ties, greedy=greedy
    )
    text = single(prompt).prompt
    from onedraw.cli.language import load
    from onedraw.cli.look import look

    language = load(model, device)
    logits = language.next_logits(text)
    if top > logits.shape[-1]:
        raise CommandError(
            f"--top must be at most {logits.shape[-1]} with this model, got {top}", 2
        )
    try:
        seen = look(logits, settings, top, language.word)
    except onedraw.BadRowError as error:
        raise CommandError(f"the model's logits cannot be drawn from: {error}") from None
    if plot is not None:
        from onedraw.cli.picture import save

        save(seen, text, plot)
    if json_:
        record = {
            "model": language.name,
            "prompt": text,
            "settings": settings,
            "spec_version": onedraw.SPEC_VERSION,
        }
        print(json.dumps(record | seen.record(), ensure_ascii=False))
    else:
        print(_text(seen, settings))


def _text(seen: Look, settings: Mapping[str, Any]) -> str:
    filtered = bool(seen.cuts)
    header = ["rank", "token", "probability", "cumulative"]
    rows = [
        [str(t.rank), quoted(t.text), percent(t.probability), percent(t.cumulative)]
        for t in seen.tokens
    ]
    if filtered:
        header += ["drawn", ""]
        for row, t in zip(rows, seen.tokens, strict=True):
            why = "kept" if t.kept else f"cut by {str(t.cut_by).replace('_', '-')}"
            row += [percent(t.drawn), why]
    lines = [table(header, rows, left=[1, 5])]
    if filtered:
        lines.append(f"{kept(seen.num_kept, seen.kept_mass)}; entropy {seen.entropy:.2f} nats")
    return "\n".join(lines)
