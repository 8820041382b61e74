"""How many thread blocks live on a multiprocessor at a time."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil

WARP = 32
SUBPARTITIONS = 4  # each with a quarter of the registers and a scheduler


@dataclass(frozen=True)
class Resources:
    """What a kernel asks for: registers a thread, bytes of shared memory a block, threads a block."""

    registers: int
    shared: int
    threads: int


def up(value: int, unit: int) -> int:
    return ceil(value / unit) * unit


def blocks_per_multiprocessor(asked: Resources, limits: Mapping[str, int]) -> int:
    """`limits` is an entry of "architectures" in devices.json; the arithmetic is that of cuda_occupancy.h."""
    warps = ceil(asked.threads / WARP)
    of_a_warp = up(asked.registers * WARP, limits["register_unit"])
    warps_by_registers = limits["registers"] // SUBPARTITIONS // of_a_warp * SUBPARTITIONS
    of_a_block = up(asked.shared + limits["shared_reserved"], limits["shared_unit"])
    return min(
        limits["blocks"],
        limits["warps"] // warps,
        warps_by_registers // warps,
        limits["shared"] // of_a_block,
    )


def occupancy(asked: Resources, limits: Mapping[str, int]) -> float:
    """The share of a multiprocessor's warps that can be alive."""
    warps = blocks_per_multiprocessor(asked, limits) * ceil(asked.threads / WARP)
    return warps / limits["warps"]
