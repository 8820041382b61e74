"""How often a seeded token changes when the logits are disturbed: onedraw against the inverse.

    python -m benchmarks.coupling [--synthetic] [--draws 2000] [--out FILE]

A table, over the size of the disturbance (total variation of the distribution that is drawn from):
what onedraw was measured to do with the same seed before and after, what the closed forms say of its
race, of a flat race over all tokens, and of the inverse of the cumulative distribution.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.data import make_logits
from benchmarks.one_row import draws, exact
from benchmarks.race_theory import flat_change, inverse_change, race_change, total_variation

INTRODUCTION = """# Coupling

Written by `python -m benchmarks.coupling`; do not edit. {rows} rows of {source} are disturbed by normal
noise that moves a given share of the distribution drawn from (*moved*, the total variation, a mean over the
rows). How many of the draws with the same seed then give another token: as onedraw drew before and
after ({draws} draws a row), by the closed form of its race of two levels, by that of a flat race over
all tokens, and by the inverse of the cumulative distribution. No way to draw can stay below *moved*.
"""

VARIATIONS = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 0.5)
TEMPERATURES = (0.8, 1.0, 1.5)
FILTERS: dict[str, dict[str, Any]] = {
    "none": {},
    "top-k 50": {"top_k": 50},
    "top-p 0.9": {"top_p": 0.9},
    "top-k 50 + top-p 0.9": {"top_k": 50, "top_p": 0.9},
}


def disturbed(row: Tensor, variation: float, seed: int, settings: dict[str, Any]) -> Tensor:
    """The row [V] plus normal noise of the size at which the drawn distribution moves so much.

    A filter cuts where the disturbed logits say, so the movement jumps with the size of the noise; of
    the sizes on either side of such a jump, the one whose movement is nearer.
    """
    noise = torch.randn(len(row), generator=torch.Generator().manual_seed(seed))
    before = exact(row, **settings)

    def moved(size: float) -> float:
        return total_variation(before, exact(row + size * noise, **settings))

    low, high = 0.0, 16.0
    for _ in range(16):
        middle = (low + high) / 2
        if moved(middle) < variation:
            low = middle
        else:
            high = middle
    return row + noise * min((low, high), key=lambda size: abs(moved(size) - variation))


def changes(
    rows: Tensor, variation: float, count: int, settings: dict[str, Any], first_seed: int = 40
) -> dict[str, float]:
    """Means over rows [R, V]: total variation, measured change of `count` draws, closed forms."""
    found = []
    for index, row in enumerate(rows):
        other = disturbed(row, variation, index, settings)
        p, q = exact(row, **settings), exact(other, **settings)
        first = draws(row, count, seed=first_seed + index, **settings)
        second = draws(other, count, seed=first_seed + index, **settings)
        found.append(
            {
                "variation": total_variation(p, q),
                "measured": float((first != second).double().mean()),
                "race": race_change(p, q),
                "flat": flat_change(p, q),
                "inverse": inverse_change(p, q),
            }
        )
    return {name: float(np.mean([values[name] for values in found])) for name in found[0]}


def table(rows: Tensor, count: int) -> Iterator[str]:
    """The curve as lines of a Markdown table."""
    yield "| temperature | filters | moved | onedraw | its closed form | flat race | inverse |"
    yield "|---|---|---|---|---|---|---|"
    first_seed = 0
    for temperature in TEMPERATURES:
        for name, filters in FILTERS.items():
            for variation in VARIATIONS:
                settings = {"temperature": temperature, **filters}
                mean = changes(rows, variation, count, settings, first_seed)
                first_seed += len(rows)  # other noise for every line
                cells = [
                    f"{100 * mean[key]:.2f} %"
                    for key in ("variation", "measured", "race", "flat", "inverse")
                ]
                yield f"| {temperature} | {name} | " + " | ".join(cells) + " |"


def main() -> None:
    parser = argparse.ArgumentParser(description="how often a seeded token changes")
    parser.add_argument("--synthetic", action="store_true", help="no model: LM-like rows")
    parser.add_argument("--rows", type=int, default=12)
    parser.add_argument("--draws", type=int, default=2000, help="draws a row")
    parser.add_argument("--out", type=Path, help="a Markdown file for the table")
    chosen = parser.parse_args()
    if chosen.synthetic:
        rows = make_logits("lm", chosen.rows, 49_152, seed=5)
    else:
        from benchmarks.real import real_rows

        rows = real_rows(chosen.rows)
    lines = []
    for line in table(rows, chosen.draws):
        print(line, flush=True)
        lines.append(line)
    if chosen.out:
        source = "LM-like logits" if chosen.synthetic else "SmolLM2's logits"
        head = INTRODUCTION.format(rows=len(rows), source=source, draws=chosen.draws)
        chosen.out.write_text("\n".join([head, *lines]) + "\n")


if __name__ == "__main__":
    main()
