"""How long a call may take on a GPU that nobody asked: from datasheets, machine code and counted accesses.

    read     bytes from memory / bandwidth
    issue    warp instructions of the mass loop / (multiprocessors x 4 schedulers x clock)
    unit     the same for the busiest unit: its instructions x 32 / (results a clock), by multiprocessor
    latency  trips of a thread one after the other x (memory latency + shuffles + an instruction a clock)
    scan     the largest of these four, where `waves` of thread blocks follow one another
    finish   what comes after the scan is one thread block's work: (its barriers x 40 + its shuffles x 25 + the
             stretches between barriers in which it loads x latency of the second-level cache + bytes that it
             loads / 64) clocks, by wave
    total    launch + scan + finish

Multiprocessors that have no thread block do nothing: they neither issue nor read.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil
from typing import Any

from benchmarks.budget.listing import Kernel
from benchmarks.budget.loops import mass_loops, weighed
from benchmarks.budget.occupancy import SUBPARTITIONS, WARP, blocks_per_multiprocessor
from benchmarks.budget.sass import by_class, by_pipe
from benchmarks.budget.shape import launch_shape

BLOCK = 64
CACHE_BYTES_A_CLOCK = 64  # of the second-level cache, for one multiprocessor
BYTES = {"float32": 4, "float16": 2, "bfloat16": 2}


@dataclass(frozen=True)
class MassLoop:
    """One trip of the hot loop of a kernel, by a thread."""

    instructions: int
    logits: int
    classes: Mapping[str, int]
    pipes: Mapping[str, int]
    shuffles: int
    widest_load: int  # bytes
    loaded: float  # bytes a logit
    stored: float  # bytes a block of 64 tokens, by the lane that stores

    def per_logit(self, kind: str = "") -> float:
        return (self.classes.get(kind, 0) if kind else self.instructions) / self.logits


def mass_loops_of(kernel: Kernel) -> list[MassLoop]:
    """The leanest first."""
    found = []
    for path in mass_loops(kernel.function):
        logits = weighed(path)
        stores = [i for i in path if i.stores]
        blocks = max(
            1, len(stores) // len({i.width for i in stores})
        )  # whose results a trip stores
        found.append(
            MassLoop(
                instructions=len(path),
                logits=logits,
                classes=by_class(path),
                pipes=by_pipe(path),
                shuffles=sum(i.base in ("SHFL", "REDUX") for i in path),
                widest_load=max(i.width for i in path if i.loads),
                loaded=sum(i.width for i in path if i.loads) / logits,
                stored=sum(i.width for i in stores) / blocks,
            )
        )
    return found


@dataclass(frozen=True)
class Counted:
    """What `benchmarks.gpu_reads` found for one row, in units of the row or the vocabulary."""

    reads_from_memory: float  # of the logits
    workspace_stored: float  # bytes a token
    finish_loaded: float  # bytes a token
    barriers: float
    shuffles: float
    waits: float

    @classmethod
    def of(cls, entry: Mapping[str, Any]) -> "Counted":
        return cls(
            entry["reads_from_memory"],
            entry["workspace_stored"] / entry["vocab"],
            entry["finish_loaded"] / entry["vocab"],
            entry["barriers"],
            entry["shuffles"],
            entry["waits"],
        )


@dataclass(frozen=True)
class Estimate:
    """Microseconds."""

    read: float
    issue: float
    unit: float
    latency: float
    finish: float
    launch: float

    @property
    def scan(self) -> float:
        return max(self.read, self.issue, self.unit, self.latency)

    @property
    def total(self) -> float:
        return self.launch + self.scan + self.finish

    @property
    def over(self) -> float:
        """Relative to the larger of read time and issue time."""
        return self.total / max(self.read, self.issue)


def estimate(
    loop: MassLoop,
    kernel: Kernel,
    device: Mapping[str, Any],
    limits: Mapping[str, Any],
    assumed: Mapping[str, float],
    counted: Counted,
    batch: int,
    vocab: int,
    dtype: str,
) -> Estimate:
    processors, hertz = device["multiprocessors"], device["clock_ghz"] * 1e9
    resident = blocks_per_multiprocessor(kernel.resources, limits)
    parts, slots = launch_shape(int(kernel.architecture), batch, vocab, processors)
    grid = parts * slots
    waves = ceil(grid / (resident * processors)) * ceil(batch / slots)
    busy = min(processors, grid)

    row = vocab * BYTES[dtype]
    from_memory = batch * (counted.reads_from_memory * row + counted.workspace_stored * vocab)
    read = from_memory / (device["bandwidth_gb_s"] * 1e9) * processors / busy
    trips = batch * vocab / loop.logits / WARP  # of warps
    issue = trips * loop.instructions / (busy * SUBPARTITIONS * hertz)
    clocks = max(loop.pipes.get(pipe, 0) * WARP / rate for pipe, rate in limits["rates"].items())
    unit = trips * clocks / (busy * hertz)
    of_a_thread = ceil(vocab / parts / (loop.logits * kernel.threads))
    clocks = assumed["memory_latency_cycles"] + loop.shuffles * assumed["shuffle_cycles"]
    latency = waves * of_a_thread * (clocks + loop.instructions) / hertz
    together = ceil(min(batch, slots) / processors)  # rows that finish on one multiprocessor
    clocks = counted.barriers * assumed["barrier_cycles"]
    clocks += counted.shuffles * assumed["shuffle_cycles"]
    clocks += counted.waits * assumed["cache_latency_cycles"]
    clocks += together * counted.finish_loaded * vocab / CACHE_BYTES_A_CLOCK
    finish = waves * clocks / hertz
    return Estimate(
        *(1e6 * seconds for seconds in (read, issue, unit, latency, finish)), assumed["launch_us"]
    )
