"""The picture of `onedraw inspect --plot`: bars of the likeliest tokens, with the cuts drawn."""

from __future__ import annotations

import warnings
from pathlib import Path

from onedraw.cli.look import Cut, Look
from onedraw.cli.manners import CommandError
from onedraw.cli.text import kept, quoted

__all__ = ["label", "save"]

KEPT, LOST, INK = "#2a78d6", "#c9c8c2", "#52514e"


def label(cut: Cut) -> str:
    """Name a cut as a person would.

    >>> label(Cut("top_k", 50.0, 50)), label(Cut("top_p", 0.9, 17)), label(Cut("greedy", 0.0, 1))
    ('top-k 50', 'top-p 0.9', 'greedy')
    """
    name = cut.filter.replace("_", "-")
    return name if cut.filter == "greedy" else f"{name} {cut.value:g}"


def save(seen: Look, prompt: str, path: Path) -> None:
    """Draw the tokens that `seen` lists, likeliest first, to a file of any format matplotlib has."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ModuleNotFoundError:
        raise CommandError(
            "--plot needs matplotlib; install it with: pip install matplotlib"
        ) from None
    tokens = seen.tokens
    figure = Figure(figsize=(max(5.0, 0.55 * len(tokens) + 2), 4.2), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    shares = [100 * token.probability for token in tokens]
    colors = [KEPT if token.kept else LOST for token in tokens]
    bars = axes.bar(range(len(tokens)), shares, color=colors, width=0.8)
    axes.bar_label(bars, fmt="%.1f", padding=2, fontsize=8, color=INK)
    axes.set_xticks(range(len(tokens)))
    # A dollar sign would start a formula.
    names = [quoted(token.text).replace("$", r"\$") for token in tokens]
    axes.set_xticklabels(names, rotation=45, ha="right", rotation_mode="anchor", fontsize=9)
    axes.set_ylabel("probability, %")
    axes.set_title(
        f"{_title(prompt)}\n{kept(seen.num_kept, seen.kept_mass)}", loc="left", fontsize=10
    )
    axes.spines[["top", "right"]].set_visible(False)
    axes.margins(y=0.12)
    for height, cut in enumerate(seen.cuts):
        if 0 < cut.left < len(tokens):
            axes.axvline(cut.left - 0.5, color=INK, linewidth=1, linestyle="--")
            axes.annotate(
                f" {label(cut)}",
                (cut.left - 0.5, 0.97 - 0.07 * height),
                xycoords=("data", "axes fraction"),
                va="top",
                fontsize=9,
                color=INK,
                bbox={"facecolor": "white", "edgecolor": "none", "pad": 1},
            )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a script that the font lacks shows as boxes
            figure.savefig(path, dpi=150)
    except (OSError, ValueError) as error:
        raise CommandError(f"cannot write the picture to {path}: {error}", 2) from None


def _title(prompt: str, most: int = 50) -> str:
    text = quoted(prompt if len(prompt) <= most else "…" + prompt[-most:])
    return "after " + text.replace("$", r"\$")
