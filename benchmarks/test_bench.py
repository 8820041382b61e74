"""The main cases under pytest-benchmark: `pytest benchmarks --benchmark-only`.

The harness (`benchmarks.run`) has all axes and all peers in one interleaved run; these are for comparing
two versions of the code (`--benchmark-save`, `--benchmark-compare`).
"""

from typing import Any

import pytest
import torch

from benchmarks.check import check_peer, expect
from benchmarks.data import make_logits
from benchmarks.filters import FILTERS
from benchmarks.peers import PEERS

VOCAB = 128_256
DEVICES = ("cpu", "cuda") if torch.cuda.is_available() else ("cpu",)


@pytest.fixture(autouse=True)
def one_thread() -> Any:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.parametrize("peer", ["floor", "onedraw", "onedraw core", "torch smart"])
@pytest.mark.parametrize("name", FILTERS)
@pytest.mark.parametrize("batch", [1, 8])
@pytest.mark.parametrize("device", DEVICES)
def test_draw(benchmark: Any, device: str, batch: int, name: str, peer: str) -> None:
    """[B, 128,256] LM-like float32 logits, one thread, in the cache; on CUDA until the device is done."""
    benchmark.group = f"{device}, {name}, batch {batch}"
    filters = FILTERS[name]
    if reason := PEERS[peer].missing(device, filters):
        pytest.skip(reason)
    logits = make_logits("lm", batch, VOCAB).to(device)
    draw = PEERS[peer].prepare(filters, 1, logits)
    check_peer(peer, filters, logits, expect(filters, logits), draw)

    def until_done(logits: torch.Tensor) -> None:
        draw(logits)
        torch.cuda.synchronize()

    benchmark(draw if device == "cpu" else until_done, logits)


def test_sampler_of_few_tokens(benchmark: Any) -> None:
    """What the Python around the kernel costs: one row of 16 tokens."""
    filters = FILTERS["top-k 50 + top-p 0.9"]
    logits = make_logits("lm", 1, 16)
    benchmark(PEERS["onedraw"].prepare(filters, 1, logits), logits)
