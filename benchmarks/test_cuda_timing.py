"""What times a GPU, with a clock that the tests turn in the place of one."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import pytest
import torch
from torch import Tensor

from benchmarks import cuda_run
from benchmarks.cases import Case
from benchmarks.check import WrongAnswerError
from benchmarks.cuda_cases import PEERS as NAMES
from benchmarks.cuda_cases import full, middle, quick
from benchmarks.cuda_timing import (
    GRAPH_CALLS,
    Device,
    Work,
    eager,
    interleaved,
    make_buffers,
    once,
    replayed,
)
from benchmarks.peers import PEERS, Peer
from benchmarks.peers.base import Draw
from benchmarks.timing import MOST_ROUNDS, ROUNDS

CACHE = 1 << 20


@dataclass
class FakeEvent:
    device: "FakeDevice"
    at: float | None = None

    def record(self) -> None:
        self.at = self.device.now

    def elapsed_time(self, end: "FakeEvent", /) -> float:
        assert self.device.is_done, "the time was read before the device was done"
        assert self.at is not None
        assert end.at is not None
        return 1e3 * (end.at - self.at)


@dataclass
class FakeDevice:
    """Work takes as long as it says; a graph does what was captured, and refuses what looks at its results."""

    now: float = 0.0  # seconds
    is_done: bool = True
    refuses: set[str] = field(default_factory=set)
    graphs: int = 0

    def spend(self, seconds: float) -> None:
        self.now += seconds
        self.is_done = False

    def place(self, tensor: Tensor) -> Tensor:
        return tensor

    def event(self) -> FakeEvent:
        return FakeEvent(self)

    def synchronize(self) -> None:
        self.is_done = True

    def capture(self, work: Callable[[], object]) -> Callable[[], object]:
        self.graphs += 1
        work()
        return work

    def cache_bytes(self) -> int:
        return CACHE

    def peak_bytes(self, work: Callable[[], object]) -> int:
        work()
        return 4096


def named(buffers: list[Tensor]) -> dict[int, int]:
    return {buffer.data_ptr(): number for number, buffer in enumerate(buffers)}


def test_cold_buffers_fill_the_cache_twice_and_are_equal() -> None:
    logits = torch.arange(12_000.0).view(3, 4_000)
    assert [x.data_ptr() for x in make_buffers(logits, "warm", CACHE)] == [logits.data_ptr()]
    cold = make_buffers(logits, "cold", CACHE)
    assert sum(x.numel() * x.element_size() for x in cold) >= 2 * CACHE
    assert len(named(cold)) == len(cold)
    assert all(torch.equal(x, logits) for x in cold)
    assert len(make_buffers(logits, "cold", 1)) == 3  # never fewer


def test_eager_calls_go_round_all_buffers() -> None:
    buffers = [torch.zeros(8) for _ in range(3)]
    names, seen = named(buffers), []
    work = eager(lambda x: seen.append(names[x.data_ptr()]), buffers, 2)
    for _ in range(3):
        work.run()
    assert work.calls == 2
    assert sorted(seen) == [0, 0, 1, 1, 2, 2]
    assert seen[:3] == [1, 2, 0]


@pytest.mark.parametrize("count", [3, GRAPH_CALLS, 2 * GRAPH_CALLS, 5 * GRAPH_CALLS])
def test_graphs_go_round_all_buffers(count: int) -> None:
    buffers = [torch.zeros(8) for _ in range(count)]
    names: dict[int, int] = named(buffers)
    seen: list[int] = []
    device = FakeDevice()
    work = replayed(lambda x: seen.append(names[x.data_ptr()]), buffers, device)
    assert device.graphs == -(-count // GRAPH_CALLS)
    seen.clear()
    for _ in range(device.graphs):
        work.run()
    assert sorted(seen) == list(range(count))
    assert len(seen) == work.calls * device.graphs


def test_a_graph_of_one_buffer_has_many_calls() -> None:
    seen: list[Tensor] = []
    work = replayed(seen.append, [torch.zeros(8)], FakeDevice())
    seen.clear()
    work.run()
    assert len(seen) == work.calls > 1


def test_times_are_those_between_the_events() -> None:
    device = FakeDevice()
    works = {
        "slow": Work(lambda: device.spend(6e-3), 3),
        "fast": Work(lambda: device.spend(1e-4), 10),
    }
    assert once(works["slow"], device) == pytest.approx(2e-3)
    found = interleaved(works, device, 0.2)
    assert found["slow"].median_us == pytest.approx(2_000)
    assert found["fast"].median_us == pytest.approx(10)
    assert found["slow"].rounds == int(0.1 / 6e-3)
    assert found["fast"].rounds == MOST_ROUNDS
    assert interleaved(works, device, 0.0)["slow"].rounds == ROUNDS


def test_every_peer_comes_first_in_turn() -> None:
    device = FakeDevice()
    order: list[str] = []

    def work(name: str) -> Work:
        def run() -> None:
            order.append(name)
            device.spend(1.0)

        return Work(run, 1)

    interleaved({name: work(name) for name in "abc"}, device, 0.0)
    rounds = [order[at : at + 3] for at in range(6, len(order), 3)]  # after warming up
    assert [turn[0] for turn in rounds] == [*"abcabca"]
    assert all(sorted(turn) == [*"abc"] for turn in rounds)


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch) -> FakeDevice:
    """Each call of a peer takes a time of its own on the fake device, and one of them can be in no graph."""
    fake = FakeDevice()
    costs = dict(zip(NAMES, (1e-5, 2e-5, 9e-4, 3e-4, 8e-4, 5e-5, 2e-4), strict=True))

    def timed(name: str, peer: Peer) -> Peer:
        def prepare(*arguments: object) -> Draw:
            draw = peer.prepare(*arguments)  # type: ignore[arg-type]

            def draw_in_time(logits: Tensor) -> Tensor | None:
                if fake.graphs and name in fake.refuses:
                    raise RuntimeError("operation not permitted\nwhen stream is capturing")
                fake.spend(costs[name])
                return draw(logits)

            return draw_in_time

        return replace(peer, prepare=prepare)

    for name in NAMES:
        monkeypatch.setitem(PEERS, name, timed(name, PEERS[name]))
    return fake


CASE = replace(middle("top-k 50 + top-p 0.9", 2), vocab=4_096)


@pytest.mark.parametrize("cache", ["cold", "warm"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_case_is_measured(device: FakeDevice, cache: str, dtype: str) -> None:
    device.refuses = {"torch smart"}
    record = cuda_run.measure(replace(CASE, cache=cache, dtype=dtype), 0.0, device)
    peers = record["peers"]
    assert peers["floor"]["median_us"] == pytest.approx(10)
    assert peers["onedraw"]["ratio"] == pytest.approx(2)
    assert peers["torch idiom"]["ratio"] == pytest.approx(90)
    size = 2 * 4_096 * (4 if dtype == "float32" else 2)
    assert record["floor_gb_s"] == pytest.approx(size / 10e-6 / 1e9)
    assert record["buffers"] == (1 if cache == "warm" else 2 * CACHE // size)
    assert record["left_out"]["torch smart"] == "no graph can hold it: operation not permitted"
    assert record["left_out"]["flashinfer"] == "flashinfer is not installed"
    assert peers["onedraw"]["extra_bytes"] == 4096
    assert (record["device"], record["cache"], record["launch"]) == ("cuda", cache, "graph")


def test_an_eager_case_is_measured(device: FakeDevice) -> None:
    record = cuda_run.measure(replace(CASE, launch="eager"), 0.0, device)
    assert device.graphs == 0
    assert record["peers"]["onedraw"]["median_us"] == pytest.approx(20)
    assert record["peers"]["torch smart"]["ratio"] == pytest.approx(30)


def test_a_wrong_answer_stops_before_anything_is_timed(
    device: FakeDevice, monkeypatch: pytest.MonkeyPatch
) -> None:
    def prepare(*_: object) -> Draw:
        return lambda logits: logits.argmin(dim=-1)

    monkeypatch.setitem(PEERS, "onedraw", replace(PEERS["onedraw"], prepare=prepare))
    with pytest.raises(WrongAnswerError, match="onedraw"):
        cuda_run.measure(CASE, 0.0, device)
    assert device.graphs == 0


def test_the_axes_of_a_run() -> None:
    cases = full()
    assert len({case.key for case in cases}) == len(cases)
    assert {case.batch for case in cases} == {1, 8, 64, 256}
    assert {case.cache for case in cases} == {"cold", "warm"}
    assert {case.launch for case in cases} == {"graph", "eager"}
    assert {case.dtype for case in cases} == {"float32", "bfloat16", "float16"}
    assert {case.device for case in cases} == {"cuda"}
    assert all(set(case.peers) <= set(PEERS) and case.peers[0] == "floor" for case in cases)
    assert len(quick()) < len(cases) / 3
    assert str(cases[0]) == "cuda B=1 V=128256 float32 lm cold graph greedy"


def test_a_case_on_the_cpu_is_what_it_was() -> None:
    assert str(Case("greedy", batch=1)) == "B=1 V=128256 float32 lm threads=1 greedy"
    assert Case("greedy").key != middle("greedy", 64).key


def test_the_fake_is_a_device() -> None:
    def wants(device: Device) -> Device:
        return device

    assert wants(FakeDevice()).cache_bytes() == CACHE
