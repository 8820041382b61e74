"""Interleaved timing: every round measures each peer once, so that drift meets all alike."""

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass

from torch import Tensor

ROUNDS = 7
MOST_ROUNDS = 40
SLOW_ROUNDS = 3  # for a peer that would spend more than SLOW_S in all rounds
SLOW_S = 2.0
LONG_S = 0.02  # a call that takes so long needs no other before it to be warm
STRETCH_S = 0.002  # a measurement lasts at least so long; short calls are repeated in it


@dataclass(frozen=True)
class Timing:
    """Microseconds a call: the median of the rounds, its quartiles, and how many there were."""

    median_us: float
    low_us: float
    high_us: float
    rounds: int
    calls_a_round: int

    def record(self) -> dict[str, float | int]:
        return asdict(self)


def summary(seconds: Sequence[float], calls: int) -> Timing:
    scaled = sorted(1e6 * second for second in seconds)
    low, _, high = (
        statistics.quantiles(scaled, n=4, method="inclusive") if len(scaled) > 1 else scaled * 3
    )
    return Timing(statistics.median(scaled), low, high, len(scaled), calls)


class Reader:
    """Hands out the buffers in turn, so that a buffer comes back only after all others."""

    def __init__(self, buffers: Sequence[Tensor]) -> None:
        self.buffers = buffers
        self.turn = 0

    def next(self) -> Tensor:
        self.turn = (self.turn + 1) % len(self.buffers)
        return self.buffers[self.turn]


def stretch(call: Callable[[Tensor], object], reader: Reader, calls: int, warm: bool) -> float:
    """Seconds a call; `warm`: after one call that is not counted."""
    if warm:
        call(reader.next())
    inputs = [reader.next() for _ in range(calls)]
    begin = time.perf_counter()
    for logits in inputs:
        call(logits)
    return (time.perf_counter() - begin) / calls


def interleaved(
    calls: Mapping[str, Callable[[Tensor], object]], buffers: Sequence[Tensor], budget_s: float
) -> dict[str, Timing]:
    """Time each call on the rotating buffers within about `budget_s` seconds for all of them."""
    reader = Reader(buffers)
    repeats: dict[str, int] = {}
    rounds: dict[str, int] = {}
    warm: dict[str, bool] = {}
    for name, call in calls.items():
        begin = time.perf_counter()
        call(reader.next())
        first = time.perf_counter() - begin
        warm[name] = first < LONG_S
        if warm[name]:
            first = min(stretch(call, reader, 1, True) for _ in range(3))
        repeats[name] = max(1, round(STRETCH_S / first))
        cost = first * (repeats[name] + warm[name])
        share = int(budget_s / len(calls) / cost)
        rounds[name] = min(max(share, ROUNDS), MOST_ROUNDS)
        if cost * ROUNDS > SLOW_S:
            rounds[name] = SLOW_ROUNDS
    found: dict[str, list[float]] = {name: [] for name in calls}
    names = list(calls)
    for turn in range(max(rounds.values())):
        shift = turn % len(names)
        for name in names[shift:] + names[:shift]:
            if len(found[name]) < rounds[name]:
                found[name].append(stretch(calls[name], reader, repeats[name], warm[name]))
    return {name: summary(found[name], repeats[name]) for name in names}
