"""The peers that only a GPU has: used by the signatures that they document, and they answer as we expect.

In their place stand modules with those signatures, which do the same in plain torch.
"""

import math
import sys
from dataclasses import replace
from types import ModuleType, SimpleNamespace

import pytest
import torch
from torch import Tensor

from benchmarks.check import WrongAnswerError, check_peer, expect
from benchmarks.data import make_logits
from benchmarks.filters import FILTERS, Filters
from benchmarks.peers import PEERS
from benchmarks.peers.torch_idiom import filtered


def pick(probs: Tensor) -> Tensor:
    return torch.multinomial(probs, 1).squeeze(-1).int()


def cut(probs: Tensor, filters: Filters) -> Tensor:
    return filtered(filters, probs.log()).softmax(dim=-1)


def check_random(seed: object, offset: object) -> None:
    assert isinstance(seed, Tensor)
    assert isinstance(offset, Tensor)
    assert seed.dtype is offset.dtype is torch.int64
    assert seed.shape == offset.shape == (1,)


class FakeSampling:
    """flashinfer.sampling: https://docs.flashinfer.ai/api/sampling.html."""

    def softmax(self, logits: Tensor, temperature: float | None = None) -> Tensor:
        assert logits.dtype is torch.float32
        return (logits / (temperature or 1)).softmax(dim=-1)

    def sampling_from_probs(
        self, probs: Tensor, *, seed: object = None, offset: object = None
    ) -> Tensor:
        check_random(seed, offset)
        return pick(probs)

    def top_k_sampling_from_probs(
        self, probs: Tensor, top_k: int, *, seed: object = None, offset: object = None
    ) -> Tensor:
        check_random(seed, offset)
        return pick(cut(probs, Filters(1.0, top_k=top_k)))

    def top_p_sampling_from_probs(
        self, probs: Tensor, top_p: float, *, seed: object = None, offset: object = None
    ) -> Tensor:
        check_random(seed, offset)
        return pick(cut(probs, Filters(1.0, top_p=top_p)))

    def min_p_sampling_from_probs(
        self, probs: Tensor, min_p: float, *, seed: object = None, offset: object = None
    ) -> Tensor:
        check_random(seed, offset)
        return pick(cut(probs, Filters(1.0, min_p=min_p)))

    def top_k_top_p_sampling_from_logits(
        self,
        logits: Tensor,
        top_k: int,
        top_p: float,
        *,
        filter_apply_order: str = "top_k_first",
        seed: object = None,
        offset: object = None,
    ) -> Tensor:
        check_random(seed, offset)
        assert filter_apply_order == "top_k_first"
        return pick(filtered(Filters(1.0, top_k=top_k, top_p=top_p), logits).softmax(dim=-1))

    def top_k_mask_logits(self, logits: Tensor, top_k: int) -> Tensor:
        return filtered(Filters(1.0, top_k=top_k), logits)

    def top_p_renorm_probs(self, probs: Tensor, top_p: float) -> Tensor:
        return cut(probs, Filters(1.0, top_p=top_p))


def apply_top_k_top_p_triton(
    logits: Tensor, k: Tensor | None, p: Tensor | None, mask_value: float = -math.inf
) -> Tensor:
    """vllm.v1.sample.ops.topk_topp_triton; in place."""
    assert logits.dtype is torch.float32
    top_k = None if k is None else int(k[0])
    top_p = None if p is None else float(p[0])
    assert k is None or (k.dtype is torch.int32 and k.shape == logits.shape[:1])
    assert p is None or (p.dtype is torch.float32 and p.shape == logits.shape[:1])
    return logits.copy_(filtered(Filters(1.0, top_k=top_k, top_p=top_p), logits))


def random_sample(probs: Tensor, generators: dict[int, torch.Generator]) -> Tensor:
    """vllm.v1.sample.ops.topk_topp_sampler."""
    noise = torch.empty_like(probs).exponential_()
    return probs.div_(noise).argmax(dim=-1).view(-1)


@pytest.fixture(autouse=True)
def _modules(monkeypatch: pytest.MonkeyPatch) -> None:
    flashinfer = ModuleType("flashinfer")
    flashinfer.sampling = FakeSampling()  # type: ignore[attr-defined]
    ops = "vllm.v1.sample.ops"
    fakes = {
        "flashinfer": flashinfer,
        f"{ops}.topk_topp_triton": SimpleNamespace(
            apply_top_k_top_p_triton=apply_top_k_top_p_triton
        ),
        f"{ops}.topk_topp_sampler": SimpleNamespace(random_sample=random_sample),
    }
    for name in ("vllm", "vllm.v1", "vllm.v1.sample", ops):
        fakes[name] = ModuleType(name)
    for name, module in fakes.items():
        monkeypatch.setitem(sys.modules, name, module)
    torch.manual_seed(0)


@pytest.mark.parametrize("peer", ["flashinfer", "vllm triton"])
@pytest.mark.parametrize("name", FILTERS)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_peers_agree(peer: str, name: str, dtype: str) -> None:
    filters = FILTERS[name]
    if not PEERS[peer].can(filters):
        assert (peer, name) == ("vllm triton", "min-p 0.05")
        return
    logits = make_logits("lm", 5, 20_000, dtype)
    before = logits.clone()
    draw = PEERS[peer].prepare(filters, 1, logits)
    check_peer(peer, filters, logits, expect(filters, logits), draw)
    token = draw(logits)
    assert token is not None
    assert token.dtype is torch.int64
    assert token.shape == (5,)
    assert torch.equal(logits, before), "a peer may not write into the buffers of all"


@pytest.mark.parametrize("peer", ["flashinfer", "vllm triton"])
@pytest.mark.parametrize(
    ("ours", "theirs"), [("top-k 50", Filters(top_k=60)), ("top-p 0.9", Filters(top_p=0.91))]
)
def test_another_kept_set_is_caught(
    peer: str, ours: str, theirs: Filters, monkeypatch: pytest.MonkeyPatch
) -> None:
    logits = make_logits("lm", 3, 5_000)
    kept = PEERS[peer].kept
    assert kept is not None
    wrong = replace(PEERS[peer], kept=lambda filters, logits: kept(theirs, logits))
    monkeypatch.setitem(PEERS, "wrong", wrong)
    draw = PEERS[peer].prepare(FILTERS[ours], 1, logits)
    with pytest.raises(WrongAnswerError, match="kept set"):
        check_peer("wrong", FILTERS[ours], logits, expect(FILTERS[ours], logits), draw)


def test_a_peer_says_why_it_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    greedy = FILTERS["greedy"]
    assert PEERS["flashinfer"].missing("cpu", greedy) == "not for cpu"
    assert PEERS["numpy"].missing("cuda", greedy) == "not for cuda"
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert PEERS["flashinfer"].missing("cuda", greedy) == "flashinfer is not installed"
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object())
    assert PEERS["vllm triton"].missing("cuda", greedy) is None
    assert PEERS["vllm triton"].missing("cuda", FILTERS["min-p 0.05"]) == "it has not these filters"
