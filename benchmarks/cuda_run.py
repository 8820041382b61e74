"""One case on a GPU: checked, timed, recorded."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from benchmarks.cases import Case
from benchmarks.check import check_peer, expect
from benchmarks.cuda_timing import (
    Cuda,
    Device,
    Work,
    eager,
    eager_calls,
    interleaved,
    make_buffers,
    replayed,
)
from benchmarks.data import make_logits
from benchmarks.filters import FILTERS
from benchmarks.peers import PEERS


def prepare_work(
    case: Case,
    draw: Callable[[Tensor], object],
    buffers: list[Tensor],
    device: Device,
) -> Work:
    if case.launch == "graph":
        return replayed(draw, buffers, device)
    return eager(draw, buffers, eager_calls(draw, buffers[0], device))


def measure(case: Case, budget_s: float, device: Device | None = None) -> dict[str, Any]:
    """The case's record, without environment; raises `WrongAnswerError` before anything is timed.

    A peer that is not installed, or that no graph can hold, is left out; the record says which and why.
    """
    device = device or Cuda()
    torch.manual_seed(0)
    filters = FILTERS[case.filters]
    logits = device.place(make_logits(case.distribution, case.batch, case.vocab, case.dtype))
    left_out = {
        name: reason
        for name in case.peers
        if (reason := PEERS[name].missing("cuda", filters)) is not None
    }
    names = [name for name in case.peers if name not in left_out]
    expected = expect(filters, logits)
    draws = {}
    for name in names:
        draws[name] = PEERS[name].prepare(filters, 1, logits)
        check_peer(name, filters, logits, expected, draws[name])
    del expected
    extra = {
        name: device.peak_bytes(lambda draw=draw: draw(logits)) for name, draw in draws.items()
    }
    buffers = make_buffers(logits, case.cache, device.cache_bytes())
    works: dict[str, Work] = {}
    for name, draw in draws.items():
        try:
            works[name] = prepare_work(case, draw, buffers, device)
        except RuntimeError as error:
            left_out[name] = f"no graph can hold it: {str(error).splitlines()[0]}"
    timings = interleaved(works, device, budget_s)
    base = timings["floor"].median_us
    size = logits.numel() * logits.element_size()
    return {
        "device": "cuda",
        "filters": case.filters,
        "batch": case.batch,
        "vocab": case.vocab,
        "dtype": case.dtype,
        "distribution": case.distribution,
        "cache": case.cache,
        "launch": case.launch,
        "buffers": len(buffers),
        "floor_gb_s": size / base / 1e3,
        "left_out": left_out,
        "peers": {
            name: {
                **timing.record(),
                "ratio": timing.median_us / base,
                "extra_bytes": extra[name],
            }
            for name, timing in timings.items()
        },
    }
