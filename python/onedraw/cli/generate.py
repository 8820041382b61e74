"""`onedraw generate`: text from a prompt, or from many."""

from __future__ import annotations

import contextlib
import json
import secrets
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

import onedraw
from onedraw.cli.manners import INTERRUPTED, CommandError, mannered
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
from onedraw.cli.prompts import Request, checked, from_file, single
from onedraw.cli.text import percent, quoted, table

if TYPE_CHECKING:
    from onedraw.cli.writing import Totals, Written

__all__ = ["EXAMPLES", "generate"]

EXAMPLES = """\b
Examples:
  onedraw generate "The man walked the cat" --temperature 0.8 --top-p 0.9 --seed 7
  onedraw generate "The man walked the cat" --greedy --max-new-tokens 20 --details
  onedraw generate "Once upon a time" --num 4 --json | jq -r .text
  onedraw generate --file prompts.txt > stories.jsonl
  cat letter.txt | onedraw generate --model gpt2
"""


@mannered
def generate(
    prompt: Annotated[
        str | None, typer.Argument(help="The text to go on from; without it, standard input.")
    ] = None,
    file: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help='Many prompts: one a line, or JSON lines with a "prompt"; - is standard input.',
        ),
    ] = None,
    temperature: Temperature = None,
    top_k: TopK = None,
    top_p: TopP = None,
    min_p: MinP = None,
    ties: Ties = None,
    greedy: Greedy = False,
    seed: Annotated[
        int | None, typer.Option(help="The same seed gives the same text; without it, a new one.")
    ] = None,
    max_new_tokens: Annotated[int | None, typer.Option(help="At most so many tokens.")] = None,
    stop: Annotated[
        list[str] | None, typer.Option(metavar="TEXT", help="Stop after this; may be repeated.")
    ] = None,
    num: Annotated[int, typer.Option(min=1, help="Samples of each prompt.")] = 1,
    batch_size: Annotated[int, typer.Option(min=1, help="Prompts at once, with --file.")] = 8,
    model: Model = None,
    device: Device = "cpu",
    echo: Annotated[
        bool, typer.Option("--echo/--no-echo", help="Write the prompt before its text.")
    ] = True,
    details: Annotated[
        bool, typer.Option("--details", help="Add the record of each token.")
    ] = False,
    json_: Json = False,
) -> None:
    """Write text. One prompt streams as text; many come as JSON lines.

    The last line, on standard error, has the number of tokens, tokens a second, and the microseconds a
    token that were spent sampling. Parameters that are not given are those of the model's own generation
    config, else off. Ctrl-C keeps what was written, and exits with status 130.
    """
    settings = sampling(
        temperature=temperature,
        top_k=top_k,
        top_p=top_p,
        min_p=min_p,
        ties=ties,
        greedy=greedy,
        seed=seed,
    )
    if prompt is not None and file is not None:
        raise CommandError("give either a prompt or --file, not both", 2)
    requests = [single(prompt)] if file is None else from_file(file)
    for text in stop or ():
        checked(text, "--stop")
    if seed is None:
        seed = secrets.randbits(32)
    from onedraw.cli.language import load
    from onedraw.cli.streaming import Streamer
    from onedraw.cli.writing import Totals, write

    language = load(model, device)
    lines = json_ or file is not None
    totals = Totals()
    streamer = None
    if not lines and num == 1:
        streamer = Streamer(language.text, sys.stdout, requests[0].prompt if echo else None)
    rows = write(
        language,
        requests,
        settings,
        seed=seed,
        batch_size=batch_size,
        num=num,
        options=_options(
            max_new_tokens=max_new_tokens,
            stop_strings=stop or None,
            look_every=None if streamer is None else 1,
        ),
        details=details,
        totals=totals,
        streamer=streamer,
    )
    if lines:
        total = len(requests) * num
        for row in _counted(rows, total if file is not None else 0):
            record = _record(row, requests[row.request], seed, details)
            print(json.dumps(record, ensure_ascii=False), flush=True)
    else:
        for row in rows:
            _show(row, num=num, echo=echo, streamed=streamer is not None, details=details)
    sys.stdout.flush()
    print(_line(totals, settings, seed), file=sys.stderr)
    if totals.interrupted:
        raise typer.Exit(INTERRUPTED)


def _options(**given: Any) -> dict[str, Any]:
    return {name: value for name, value in given.items() if value is not None}


def _line(totals: Totals, settings: dict[str, Any], seed: int) -> str:
    return totals.line(None if settings.get("temperature") == 0 else seed)


def _record(row: Written, request: Request, seed: int, details: bool) -> dict[str, Any]:
    """One row as JSON."""
    record: dict[str, Any] = {} if request.name is None else {"id": request.name}
    record |= {
        "prompt": row.prompt,
        "text": row.text,
        "sample": row.sample,
        "finish_reason": row.finish_reason,
        "num_tokens": row.num_tokens,
        "seed": request.overrides.get("seed", seed),
        "spec_version": onedraw.SPEC_VERSION,
    }
    return record | ({"tokens": row.tokens} if details else {})


def _show(row: Written, *, num: int, echo: bool, streamed: bool, details: bool) -> None:
    """One row as text; a heading where there are several."""
    if num > 1:
        print(f"--- {row.sample + 1} of {num}")
    if not streamed:
        print(row.prompt if echo else "", row.text, sep="")
    else:
        print()
    if details and row.tokens:
        print()
        print(_details(row))


def _details(row: Written) -> str:
    header = ["token", "id", "probability", "drawn with", "rank", "kept", "entropy"]
    lines = []
    for token in row.tokens:
        lines.append(
            [
                quoted(token["text"]),
                str(token["token"]),
                percent(_share(token["raw_logprob"])),
                percent(_share(token["logprob"])),
                str(token["rank"]),
                f"{token['num_kept']:,}",
                f"{token['entropy']:.2f}",
            ]
        )
    return table(header, lines, left=[0])


def _share(logprob: float) -> float:
    from math import exp

    return exp(logprob)


def _counted(rows: Iterator[Written], total: int) -> Iterator[Written]:
    """The rows, with a bar on standard error if that is a terminal and there is something to count."""
    if not total or not sys.stderr.isatty():
        yield from rows
        return
    from tqdm import tqdm

    with contextlib.closing(tqdm(total=total, unit=" texts", leave=False)) as bar:
        for row in rows:
            bar.update()
            with tqdm.external_write_mode(file=sys.stdout):
                yield row
