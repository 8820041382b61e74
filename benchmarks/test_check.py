"""The peers answer alike on every kind of row, and a wrong answer is caught."""

import pytest
import torch
from torch import Tensor

from benchmarks.check import WrongAnswerError, check_peer, expect
from benchmarks.data import DISTRIBUTIONS, DTYPES, make_logits
from benchmarks.filters import FILTERS
from benchmarks.peers import PEERS, Peer
from benchmarks.timing import interleaved

every_filter = pytest.mark.parametrize("name", FILTERS)


@every_filter
@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_peers_agree(name: str, distribution: str, dtype: str) -> None:
    filters = FILTERS[name]
    logits = make_logits(distribution, 3, 20_000, dtype)
    expected = expect(filters, logits)
    for peer, functions in PEERS.items():
        if functions.missing("cpu", filters) is None:
            check_peer(peer, filters, logits, expected, functions.prepare(filters, 1, logits))


@every_filter
def test_a_wrong_token_is_caught(name: str) -> None:
    filters = FILTERS[name]
    if name == "temperature":  # nothing is cut
        return
    logits = make_logits("lm", 3, 5_000)

    def last(logits: Tensor) -> Tensor:
        return logits.argmin(dim=-1)

    with pytest.raises(WrongAnswerError, match="token"):
        check_peer("onedraw core", filters, logits, expect(filters, logits), last)


@pytest.mark.parametrize("name", ["top-k 50", "top-p 0.9", "min-p 0.05"])
def test_a_wrong_kept_set_is_caught(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """One token too many, the next in order."""
    filters = FILTERS[name]
    logits = make_logits("lm", 3, 5_000)
    expected = expect(filters, logits)
    rest = logits.masked_fill(expected.keep, float("-inf"))
    more = expected.keep.scatter(1, rest.argmax(dim=-1, keepdim=True), True)
    draw = PEERS["onedraw"].prepare(filters, 1, logits)
    monkeypatch.setitem(PEERS, "wrong", Peer(PEERS["onedraw"].prepare, lambda *_: more))
    with pytest.raises(WrongAnswerError, match="kept set"):
        check_peer("wrong", filters, logits, expected, draw)


def test_timing_rotates_the_buffers_and_measures_all() -> None:
    seen: list[int] = []
    buffers = [torch.zeros(1, 8) for _ in range(3)]
    names = {buffer.data_ptr(): number for number, buffer in enumerate(buffers)}
    calls = {"one": lambda x: seen.append(names[x.data_ptr()]), "other": lambda x: x.sum()}
    found = interleaved(calls, buffers, 0.05)
    assert set(found) == {"one", "other"}
    assert all(timing.rounds >= 7 and timing.median_us > 0 for timing in found.values())
    assert set(seen) == {0, 1, 2}
