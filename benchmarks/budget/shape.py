"""How a call is laid out over a device that is not there: by the table in csrc/cuda/tuning.h.

Before there is that file: two thread blocks a processor, parts of 64 blocks or more, as csrc/cuda/kernel.cu has it.
"""

import re
from math import ceil
from pathlib import Path

BLOCK = 64
SOURCE = Path(__file__).resolve().parent.parent.parent / "csrc" / "cuda" / "tuning.h"


def table() -> list[tuple[int, int, int]]:
    """Architecture from which a line holds, thread blocks a processor, least blocks of a part."""
    if not SOURCE.exists():
        return [(0, 2, 64)]
    lines = SOURCE.read_text().split("kTuning[] = {")[1].split("};")[0]
    number = r"\s*(\d+)\s*"
    found = re.findall(rf"\{{{number},{number},{number}\}}", lines)
    if not found:
        raise RuntimeError(f"{SOURCE} has no table of three columns")
    return [(int(first), int(second), int(third)) for first, second, third in found]


def constant(name: str) -> int:
    if not SOURCE.exists():
        return 1 << 30
    found = re.search(rf"{name} = (\d+);", SOURCE.read_text())
    if found is None:
        raise RuntimeError(f"{SOURCE} has no {name}")
    return int(found.group(1))


def launch_shape(architecture: int, rows: int, vocab: int, processors: int) -> tuple[int, int]:
    """Thread blocks a row, and rows in flight."""
    _, per_processor, least = [line for line in table() if line[0] <= architecture][-1]
    parts = 1
    if rows < processors and rows <= constant("kMostSplit"):
        most = ceil(ceil(vocab / BLOCK) / least)
        parts = max(1, min(per_processor * processors // rows, most, constant("kMostParts")))
    return parts, rows if parts > 1 else min(rows, per_processor * processors)
