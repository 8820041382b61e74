"""How tensors get to a device and stay there, on fake CUDA tensors and on what says that it is a device."""

import weakref
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from torch._subclasses import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

import onedraw
from fake_cuda import Uploads, fake_cuda, install_guard
from onedraw import _core, devices, edits, ops, state
from onedraw.generate.loop import Loop

CUDA = torch.device("cuda", 0)
HOST = torch.device("cpu")
X = torch.randn(3, 40, generator=torch.Generator().manual_seed(0))
MASK = torch.arange(40) % 3 > 0
BITS = torch.zeros(3, 2, dtype=torch.int32)
ORDER = [{1: 99.0}, {2: 99.0}, {3: 99.0}]
ONES, ROWS = torch.ones(40), torch.arange(3)
SETTINGS = {
    "temperature": [0.5, 1.0, 2.0],
    "top_k": [9, 8, 7],
    "top_p": [0.9, 0.8, 0.7],
    "min_p": [0.01, 0.02, 0.03],
    "seed": [1, 2, 3],
    "stream": [4, 5, 6],
}


class Copies(TorchDispatchMode):
    """The copies that are made, and whether they are only queued."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[torch.Tensor, torch.Tensor, bool]] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        if func is torch.ops.aten._to_copy.default:
            self.seen.append((args[0], result, (kwargs or {}).get("non_blocking", False)))
        if func is torch.ops.aten.copy_.default:
            self.seen.append((args[1], result, False))
        return result


@pytest.fixture
def uploads() -> Iterator[Uploads]:
    with fake_cuda(), Uploads() as mode:
        yield mode


def test_what_is_staged_is_read_before_the_call_returns():
    """Pinned memory of the user, too: the copy that is queued reads another buffer."""
    install_guard()
    value = torch.arange(3)
    with FakeTensorMode(allow_non_fake_inputs=True), Copies() as copies:
        there = devices.stage(value, CUDA)
    (first, buffer, at_once), (source, result, queued) = copies.seen
    assert (first is value, at_once, source is buffer, queued) == (True, False, True, True)
    assert buffer is not value
    assert buffer.is_cpu
    assert result is there
    assert there.device == CUDA


def test_a_copy_to_the_host_has_arrived():
    """The CPU's kernel reads it at once."""
    install_guard()
    with FakeTensorMode(allow_non_fake_inputs=True):
        mask = torch.ones(40, dtype=torch.bool, device="cuda")
        with Copies() as copies:
            assert devices.beside(mask, X, "allowed", "cpu").is_cpu
    assert [queued for _, _, queued in copies.seen] == [False]


@pytest.mark.parametrize(
    "place",
    [
        lambda x: ops.placed("temperature", ONES[:3], x),
        lambda x: state.on_device(ROWS, x),
        lambda x: edits.placed_mask(x, MASK),
        lambda x: edits.placed_mask(x, BITS),
        lambda x: edits.placed_bias(x, X),
        lambda x: edits.placed_bias(x, ONES),
        lambda x: edits.placed_bias(x, {3: 1.0}),
        lambda x: edits.placed_bias(x, [{3: 1.0, 1: 2.0}, None, {}]),
    ],
)
def test_nothing_is_uploaded_by_waiting(place, uploads):
    placed = place(torch.empty(3, 40, device="cuda"))
    placed = placed if isinstance(placed, tuple) else (placed,)
    assert all(value.device == CUDA for value in placed)
    assert uploads.made == len(placed)


@pytest.mark.parametrize(
    "wait",
    [
        lambda: torch.ones(3).to("cuda"),
        lambda: torch.ones(3).to("cuda", non_blocking=True),
        lambda: torch.tensor([1, 2], device="cuda"),
        lambda: torch.empty(2, device="cuda").copy_(torch.ones(2)),
    ],
)
def test_an_upload_that_waits_is_caught(wait, uploads):
    with pytest.raises(RuntimeError, match="waits until the device has read"):
        wait()


def test_rows_are_selected_without_waiting(uploads):
    sampler = onedraw.Sampler(top_k=3)
    there = torch.zeros(3, device="cuda")
    sampler._position = there.long()
    sampler._bad = there.int()
    per_row = {"temperature": there, "seed": there.long(), "stream": there.long()}
    sampler._state = replace(sampler._state, requests=3, row_stream=False, **per_row)
    sampler.select([2, 0])
    moved = [sampler._position, sampler._bad, sampler._state.temperature, sampler._state.seed]
    assert all(value.device == CUDA and value.shape == (2,) for value in moved)
    assert uploads.made == 1


class Done:
    """Which rows are finished, all but the last: fake tensors cannot say it."""

    def __invert__(self):
        return self

    def nonzero(self):
        return ROWS[2:].unsqueeze(1)


def test_the_loop_uploads_without_waiting(uploads):
    logits, taken = torch.empty(3, 40, device="cuda"), []
    loop = SimpleNamespace(unfinished=None, allowed=None, eos=(3, 4), rows=None)
    assert Loop._mask(loop, logits).device == CUDA
    loop.present = ROWS
    loop.tape = SimpleNamespace(tokens=logits)
    loop.decoder = loop.sampler = SimpleNamespace(select=taken.append)
    assert Loop._leave(loop, Done()).device == CUDA
    assert [rows.device for rows in (*taken, loop.rows, loop.present)] == [CUDA, HOST, CUDA, HOST]
    assert uploads.made == 3


def test_a_graph_is_given_nothing_of_the_host(monkeypatch, uploads):
    x = torch.empty(3, 40, device="cuda")
    there = torch.ones(3, device="cuda")
    monkeypatch.setattr(devices, "capturing", lambda: True)
    for place in (
        lambda: devices.stage(torch.arange(3), CUDA),
        lambda: edits.placed_mask(x, MASK),
        lambda: edits.placed_bias(x, {3: 1.0}),
    ):
        with pytest.raises(RuntimeError, match="while a CUDA graph is captured must be on"):
            place()
    assert devices.stage(there, CUDA) is there
    assert uploads.made == 0


class Stream:
    """A stream, as far as a Sampler is concerned."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.waited: list[int] = []

    def wait_stream(self, other: "Stream") -> None:
        self.waited.append(other.number)


class Device:
    """Says of the host's memory that it is a device's, with streams and captures as a test wants them."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.stream, self.capturing = Stream(1), False
        self.recorded: list[tuple[int, int]] = []
        patch.setattr(devices, "on_cuda", lambda x: True)
        patch.setattr(devices, "capturing", lambda: self.capturing)
        patch.setattr(devices, "current_stream", lambda x: self.stream)
        patch.setattr(devices, "new_workspace", lambda x: torch.zeros(8, dtype=torch.uint8))
        patch.setattr(devices, "launch", self.launch)
        patch.setattr(_core, "cuda_stream", lambda x: self.stream.number)

    def launch(self, job, x, space, advance=False) -> None:
        job.output("worst", None)  # which a device's kernel alone writes
        job.run(x)


@pytest.fixture
def device(monkeypatch) -> Device:
    made = Device(monkeypatch)

    def record(tensor, stream):
        made.recorded.append((tensor.data_ptr(), stream.number))

    monkeypatch.setattr(torch.Tensor, "record_stream", record)
    return made


def test_all_that_a_launch_reads_outlives_it_on_any_stream(device, monkeypatch):
    read = []
    monkeypatch.setattr(ops, "placed", lambda name, value, x: read.append(value) or value)
    sampler = onedraw.Sampler(**SETTINGS, allowed=MASK, logit_bias={3: 1.0})
    sampler(X)
    job = sampler._ready
    tensors = [value for value in read if isinstance(value, torch.Tensor)]
    tensors += [job.mask, *job.bias, job.workspace, job.status, job.so_far, sampler._position]
    expected = {tensor.data_ptr() for tensor in tensors}
    assert len(expected) == 6 + 1 + 1 + 3 + 3
    assert {pointer for pointer, number in device.recorded if number == 1} == expected
    device.stream = Stream(2)
    sampler(X)
    assert {pointer for pointer, number in device.recorded if number == 2} == expected
    count = len(device.recorded)
    sampler(X)
    assert len(device.recorded) == count


def test_a_stream_waits_for_the_one_before(device):
    sampler = onedraw.Sampler(**SETTINGS)
    first, second, third, fourth = (Stream(number) for number in (1, 2, 3, 4))
    for device.stream in (first, first, second, second):
        sampler(X)
    assert (first.waited, second.waited) == ([], [1])
    device.stream = third
    sampler(X.view(3, 1, 40))  # another job
    assert third.waited == [2]
    device.stream = fourth
    assert sampler.position.shape == (3,)
    device.stream = first
    sampler.reset()
    assert (fourth.waited, first.waited) == ([3], [4])
    assert deepcopy(sampler)._turns.key is None


def test_a_captured_stream_waits_for_nobody(device):
    sampler = onedraw.Sampler(**SETTINGS)
    ours, captured = device.stream, Stream(2)
    sampler(X)
    device.stream, device.capturing = captured, True
    sampler(X)
    device.stream, device.capturing = ours, False
    sampler(X)
    assert (ours.waited, captured.waited) == ([], [])
    assert any(number == 2 for _, number in device.recorded)


def captured(device, sampler):
    """The job that a graph launches from now on."""
    sampler(X)
    device.capturing = True
    sampler(X)
    device.capturing = False
    return sampler._ready


@pytest.mark.parametrize("position", [7, torch.tensor([3, 1, 4])])
@pytest.mark.parametrize("given", [SETTINGS, {"seed": 3}, {}], ids=["rows", "seed", "unseeded"])
def test_a_graph_goes_on_at_the_position_that_is_set(device, given, position):
    sampler = onedraw.Sampler(**given)
    job = captured(device, sampler)
    there = sampler._position
    job.so_far.fill_(2)
    sampler.position = position
    assert torch.equal(there, torch.as_tensor(position).expand(3))
    assert job.so_far.tolist() == [2, 2, 2]
    sampler.reset(position)
    assert torch.equal(there, torch.as_tensor(position).expand(3))
    assert job.so_far.tolist() == [0, 0, 0]
    sampler.check()
    sampler(X)
    assert sampler._ready is job
    assert sampler._position is there


def test_rows_are_open_again_after_a_reset(device):
    sampler = onedraw.Sampler(seed=3, position=5)
    job = captured(device, sampler)
    job.so_far.fill_(2)
    sampler.reset(9)
    assert sampler(X[:2]).shape == (2,)
    assert torch.equal(sampler.position, torch.tensor([9, 9]))
    sampler.check()
    sampler.reset()
    sampler.position = [1, 2]  # of the rows that it has now
    sampler(X[:2])


def test_a_reset_undoes_what_was_selected(device):
    """In other order, as many rows as before."""
    settings = {**SETTINGS, "top_k": [1, 1, 1], "temperature": [0, 0, 0], "logit_bias": ORDER}
    sampler = onedraw.Sampler(**settings)
    tokens = sampler(X)
    sampler.select([2, 1, 0])
    sampler(X)
    sampler.reset()
    assert torch.equal(sampler(X), tokens)
    assert tokens.tolist() == [1, 2, 3]


def elsewhere(sampler):
    sampler(X.view(3, 1, 40))


def selected(sampler):
    if sampler._state.requests is None:
        sampler(X[:1])
        return
    sampler.select([0])
    sampler(X[:1])


def loaded(sampler):
    sampler.load_state_dict(onedraw.Sampler(seed=4).state_dict())
    sampler(X[:2])


def begun(sampler):
    sampler.reset()
    sampler(X[:1])


@pytest.mark.parametrize("leave", [elsewhere, selected, loaded, begun])
def test_what_a_graph_reads_lives_as_long_as_the_sampler(device, leave):
    sampler = onedraw.Sampler(seed=3, top_k=9)
    job = weakref.ref(captured(device, sampler))
    position = sampler._position.data_ptr()
    for _ in range(3):
        leave(sampler)
        if leave is not elsewhere:
            sampler.reset()
    assert job() is not None
    if leave is elsewhere:
        assert sampler._position.data_ptr() == position
        sampler(X)
        assert sampler._ready is job()
    del sampler
    assert job() is None


def test_bad_rows_of_a_graph_are_told_after_another_shape(device):
    sampler = onedraw.Sampler(seed=3)
    job = captured(device, sampler)
    elsewhere(sampler)
    job.so_far[1] = 1
    with pytest.raises(onedraw.BadRowError, match="row 1 has a NaN"):
        sampler.check()
    sampler.reset()
    sampler.check()


def test_a_job_that_is_in_no_graph_is_let_go(device):
    sampler = onedraw.Sampler(seed=3)
    sampler(X)
    job = weakref.ref(sampler._ready)
    elsewhere(sampler)
    assert job() is None


def test_edits_of_a_call_are_taken_back_without_placing_any(monkeypatch):
    placed = []
    beside = devices.beside
    monkeypatch.setattr(
        devices,
        "beside",
        lambda value, x, name, *more: placed.append(name) or beside(value, x, name, *more),
    )
    own = {"allowed": MASK, "logit_bias": torch.linspace(0, 40, 40)}
    sampler, other = onedraw.Sampler(seed=1, **own), onedraw.Sampler(seed=1, **own)
    sampler(X)
    placed.clear()
    for _ in range(2):
        sampler(X, allowed=~MASK, logit_bias={3: 9.0})
    assert placed == ["allowed", "allowed"]
    for _ in range(3):
        other(X)
    assert torch.equal(sampler(X), other(X))
