"""Interleaved timing on a GPU: events around calls on rotating buffers, eager or replayed from graphs."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Protocol

import torch
from torch import Tensor

from benchmarks.timing import MOST_ROUNDS, ROUNDS, STRETCH_S, Reader, Timing, summary

GRAPH_CALLS = 64  # of a graph; more buffers than these take several graphs in turn
CACHES = 2  # buffers of so many second-level caches rotate where logits are to come from memory
LEAST_BUFFERS = 3


class Event(Protocol):
    """A point in a stream."""

    def record(self) -> None: ...
    def elapsed_time(self, end: "Event", /) -> float: ...


class Device(Protocol):
    """What timing needs of a GPU; the tests put another in its place."""

    def place(self, tensor: Tensor) -> Tensor: ...
    def event(self) -> Event: ...
    def synchronize(self) -> None: ...
    def capture(self, work: Callable[[], object]) -> Callable[[], object]: ...
    def cache_bytes(self) -> int: ...
    def peak_bytes(self, work: Callable[[], object]) -> int: ...


class Cuda:
    """The current CUDA device of torch."""

    def place(self, tensor: Tensor) -> Tensor:
        return tensor.to("cuda")

    def event(self) -> Event:
        return torch.cuda.Event(enable_timing=True)

    def synchronize(self) -> None:
        torch.cuda.synchronize()

    def capture(self, work: Callable[[], object]) -> Callable[[], object]:
        """The replay of a graph of `work`, which runs once before, on the stream of the capture, to warm up."""
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            work()
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            work()
        return graph.replay

    def cache_bytes(self) -> int:
        return torch.cuda.get_device_properties(torch.cuda.current_device()).L2_cache_size

    def peak_bytes(self, work: Callable[[], object]) -> int:
        """How far torch's memory rises above its level before the call."""
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        work()
        torch.cuda.synchronize()
        return torch.cuda.max_memory_allocated() - before


def make_buffers(logits: Tensor, cache: str, cache_bytes: int) -> list[Tensor]:
    """One buffer where logits are to be in the cache, else copies that fill it `CACHES` times."""
    if cache == "warm":
        return [logits]
    count = ceil(CACHES * cache_bytes / (logits.numel() * logits.element_size()))
    whole = logits.new_empty((max(LEAST_BUFFERS, count), *logits.shape))
    whole.copy_(logits)
    return list(whole)


@dataclass(frozen=True)
class Work:
    """What a measurement lasts: some calls of one peer."""

    run: Callable[[], object]
    calls: int


def eager(draw: Callable[[Tensor], object], buffers: Sequence[Tensor], calls: int) -> Work:
    """Calls one by one, each on the next buffer."""
    reader = Reader(buffers)

    def run() -> None:
        for _ in range(calls):
            draw(reader.next())

    return Work(run, calls)


def replayed(draw: Callable[[Tensor], object], buffers: Sequence[Tensor], device: Device) -> Work:
    """Graphs that have a call for each buffer, replayed in turn; the one buffer of a warm case many times."""
    inputs = list(buffers) * (1 if len(buffers) > 1 else GRAPH_CALLS // 4)
    count = ceil(len(inputs) / GRAPH_CALLS)
    size = len(inputs) // count  # the same for all, so that a measurement is one replay
    replays = []
    for first in range(0, count * size, size):
        part = inputs[first : first + size]
        replays.append(device.capture(lambda part=part: [draw(x) for x in part]))
    turns = cycle(replays)
    return Work(lambda: next(turns)(), size)


def cycle(replays: Sequence[Callable[[], object]]) -> Iterator[Callable[[], object]]:
    while True:
        yield from replays


def once(work: Work, device: Device) -> float:
    """Seconds a call."""
    begin, end = device.event(), device.event()
    begin.record()
    work.run()
    end.record()
    device.synchronize()
    return begin.elapsed_time(end) / 1e3 / work.calls


def interleaved(works: Mapping[str, Work], device: Device, budget_s: float) -> dict[str, Timing]:
    """Time each work within about `budget_s` seconds for all, in rounds whose order rotates."""
    rounds: dict[str, int] = {}
    for name, work in works.items():
        work.run()
        cost = max(once(work, device) * work.calls, STRETCH_S / 10)
        rounds[name] = min(max(int(budget_s / len(works) / cost), ROUNDS), MOST_ROUNDS)
    found: dict[str, list[float]] = {name: [] for name in works}
    names = list(works)
    for turn in range(max(rounds.values())):
        shift = turn % len(names)
        for name in names[shift:] + names[:shift]:
            if len(found[name]) < rounds[name]:
                found[name].append(once(works[name], device))
    return {name: summary(found[name], works[name].calls) for name in names}


def eager_calls(draw: Callable[[Tensor], object], x: Tensor, device: Device) -> int:
    """How many calls make a measurement of `STRETCH_S`, by the clock of the host."""
    draw(x)
    device.synchronize()
    begin = time.perf_counter()
    draw(x)
    device.synchronize()
    return max(1, round(STRETCH_S / (time.perf_counter() - begin)))
