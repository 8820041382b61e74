"""How a call is laid out over a device: `shape_of` in csrc/cuda/kernel.cu, for devices that are not there."""

from math import ceil

BLOCK = 64
LEAST = 64  # blocks of a part


def launch_shape(rows: int, vocab: int, processors: int) -> tuple[int, int]:
    """Thread blocks a row, and rows in flight."""
    wanted = 2 * processors
    blocks = ceil(vocab / BLOCK)
    parts = 1 if rows >= processors else min(wanted // rows, ceil(blocks / LEAST))
    parts = max(1, parts)
    return parts, rows if parts > 1 else min(rows, wanted)
