"""Calls one after another and beside one another: workspaces, streams, threads, replays."""

import sys
import threading
from pathlib import Path

import pytest
import torch

sys.path.append(str(Path(__file__).parent))

from cuda_job import Case, Prepared, on_cpu, on_cuda, unlike, workspace


def some(*shape: int) -> torch.Tensor:
    return 3 * torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)))


def case(batch: int, vocab: int, seed: int = 1) -> Case:
    keys = torch.arange(batch) + seed
    settings = {"top_p": 0.9, "top_k": 900, "seed": keys, "position": keys}
    return Case(some(batch, vocab), settings, outputs=("token", "status", "num_kept"))


def synchronize(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


def streams_of(device: str, count: int) -> list[int]:
    """On a GPU, streams of their own; cuda-on-cpu runs each launch to its end."""
    if device == "cpu":
        return list(range(count))
    return [torch.cuda.Stream().cuda_stream for _ in range(count)]


def test_one_workspace_for_calls_in_a_row(device):
    """Of any shape, split or not, with bad rows: each leaves it ready for the next."""
    calls = [case(*shape) for shape in [(1, 30_000), (3, 9000), (150, 70), (2, 20_000), (1, 5)]]
    calls[1].logits[1, 77] = calls[3].logits[0, 19_999] = float("nan")
    calls[3].logits[1] = float("-inf")
    space = max((workspace(call, device) for call in calls), key=len)
    for call in calls + calls[::-1]:
        assert not unlike(on_cpu(call), on_cuda(call, device, space))


def test_a_workspace_may_be_larger_and_lie_anywhere(device):
    call = case(2, 9000)
    size = len(workspace(call, device))  # a multiple of 256
    space = torch.zeros(3 * size, dtype=torch.uint8, device=device)
    for part in (space[: 2 * size], space[2 * size :]):
        assert not unlike(on_cpu(call), on_cuda(call, device, part))


def test_nothing_is_written_beside_the_workspace(device):
    for call in (case(2, 9000), case(150, 130)):
        size = len(workspace(call, device))
        around = torch.zeros(size + 512, dtype=torch.uint8, device=device)
        around[:256] = around[-256:] = 7
        on_cuda(call, device, around[256:-256])
        assert (torch.cat([around[:256], around[-256:]]) == 7).all()


def test_jobs_with_workspaces_of_their_own_interleave(device):
    calls = [case(1, 30_000), case(4, 5000, 9), case(1, 30_000, 5)]
    prepared = [Prepared(call, device) for call in calls]
    spaces = [workspace(call, device) for call in calls]
    synchronize(device)
    streams = streams_of(device, 3)
    for _ in range(2):
        for one, space, stream in zip(prepared, spaces, streams, strict=True):
            one.job.run_cuda(one.logits, space, stream)
    synchronize(device)
    for call, one in zip(calls, prepared, strict=True):
        assert not unlike(on_cpu(call), one.answer())


def test_threads_of_the_host(device):
    calls = [case(1, 9000, seed) for seed in range(4)]
    expected = [on_cpu(call) for call in calls]
    streams, wrong = streams_of(device, 4), []

    def work(index: int) -> None:
        try:
            one, space = Prepared(calls[index], device), workspace(calls[index], device)
            synchronize(device)
            for _ in range(3):
                one.job.run_cuda(one.logits, space, streams[index])
                synchronize(device)
                wrong.extend(unlike(expected[index], one.answer()))
        except Exception as error:
            wrong.append(repr(error))

    threads = [threading.Thread(target=work, args=(index,)) for index in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


@pytest.mark.parametrize(("batch", "vocab"), [(1, 5000), (3, 5000), (3, 70), (280, 5)])
def test_a_launch_again_draws_anew(device, batch, vocab):
    """As a graph replays it: the same arguments; the kernel moves the positions on."""
    keys = torch.arange(batch)
    call = Case(some(batch, vocab) / 9, {"seed": keys}, outputs=("token",))
    prepared, space = Prepared(call, device), workspace(call, device)
    position = (keys * 5 + 2**31).to(device)
    prepared.job.set("position", position)
    seen = []
    for step in range(4):
        prepared.job.run_cuda(prepared.logits, space, advance=True)
        seen.append(prepared.answer()["token"].flatten().tolist())
        at = {"seed": keys, "position": keys * 5 + 2**31 + step}
        fresh = on_cuda(Case(call.logits, at, outputs=("token",)), device)["token"]
        assert seen[-1] == fresh.flatten().tolist()
    assert len({tuple(tokens) for tokens in seen}) == 4
    assert position.tolist() == (keys * 5 + 2**31 + 4).tolist()


def test_bad_and_greedy_rows_advance_too(device):
    x = some(4, 5000)
    x[1, 7] = float("nan")
    x[2] = float("-inf")
    call = Case(x, {"temperature": torch.tensor([1.0, 1.0, 1.0, 0.0]), "seed": 3})
    prepared, position = Prepared(call, device), torch.tensor([4, 9, 100, 0], device=device)
    prepared.job.set("position", position)
    prepared.job.run_cuda(prepared.logits, workspace(call, device), advance=True)
    assert prepared.answer()["status"].tolist() == [0, 1, 2, 0]
    assert position.tolist() == [5, 10, 101, 1]


def test_the_worst_status_stays(device):
    x = some(4, 5000)
    x[1, 7] = float("nan")
    x[2] = float("-inf")
    call = Case(x, {"seed": 3, "position": 5})
    prepared = Prepared(call, device)
    worst = torch.tensor([0, 0, 1, 3], dtype=torch.int32, device=device)
    prepared.job.output("worst", worst)
    for _ in range(2):
        prepared.job.run_cuda(prepared.logits, workspace(call, device))
        assert prepared.answer()["status"].tolist() == [0, 1, 2, 0]
        assert worst.tolist() == [0, 1, 2, 3]


def test_without_advance_positions_stay(device):
    position = torch.tensor([4, 9])
    call = Case(some(2, 5000), {"seed": 1, "position": position})
    assert not unlike(on_cuda(call, device), on_cuda(call, device))
    assert position.tolist() == [4, 9]


def test_a_graph_replays_with_new_tokens(device):
    if device != "cuda":
        pytest.skip("cuda-on-cpu has no graphs")
    call = Case(some(3, 5000), {"seed": 1}, outputs=("token",))
    prepared, space = Prepared(call, device), workspace(call, device)
    position = torch.tensor([4, 9, 100], device=device)
    prepared.job.set("position", position)
    synchronize(device)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        stream = torch.cuda.current_stream().cuda_stream
        prepared.job.run_cuda(prepared.logits, space, stream, advance=True)
    for step in range(3):
        graph.replay()
        synchronize(device)
        at = {"seed": 1, "position": torch.tensor([4, 9, 100]) + step}
        fresh = on_cpu(Case(call.logits, at, outputs=("token",)))
        assert not unlike(fresh, prepared.answer())
