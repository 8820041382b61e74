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


@pytest.fixture(autouse=True)
def one_thread() -> Any:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.parametrize("peer", ["floor", "onedraw", "onedraw core", "torch smart"])
@pytest.mark.parametrize("name", FILTERS)
@pytest.mark.parametrize("batch", [1, 8])
def test_draw(benchmark: Any, batch: int, name: str, peer: str) -> None:
    """[B, 128,256] LM-like float32 logits, one thread, in the cache."""
    benchmark.group = f"{name}, batch {batch}"
    filters = FILTERS[name]
    logits = make_logits("lm", batch, VOCAB)
    draw = PEERS[peer].prepare(filters, 1, logits)
    check_peer(peer, filters, logits, expect(filters, logits), draw)
    benchmark(draw, logits)


def test_sampler_of_few_tokens(benchmark: Any) -> None:
    """What the Python around the kernel costs: one row of 16 tokens."""
    filters = FILTERS["top-k 50 + top-p 0.9"]
    logits = make_logits("lm", 1, 16)
    benchmark(PEERS["onedraw"].prepare(filters, 1, logits), logits)
