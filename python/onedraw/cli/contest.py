"""The quick comparison of `onedraw bench`: its peers, and how they are timed."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

import onedraw

__all__ = ["FILTERS", "SIZES", "Result", "contest", "lm_like"]

Call = Callable[[], object]

FILTERS: dict[str, dict[str, float | int]] = {
    "greedy": {"temperature": 0},
    "temperature 0.8": {"temperature": 0.8},
    "top-k 50": {"temperature": 0.8, "top_k": 50},
    "top-p 0.9": {"temperature": 0.8, "top_p": 0.9},
    "min-p 0.05": {"temperature": 0.8, "min_p": 0.05},
    "top-k 50, top-p 0.9": {"temperature": 0.8, "top_k": 50, "top_p": 0.9},
}

SIZES = ((1, 50257), (1, 128256), (8, 128256))  # rows, tokens


@dataclass(frozen=True)
class Result:
    """Microseconds a call; `huggingface` is None where transformers is not installed."""

    batch: int
    vocab: int
    filters: str
    floor: float
    onedraw: float
    torch: float
    huggingface: float | None


def lm_like(batch: int, vocab: int) -> Tensor:
    """[B, V] float32 logits shaped like a language model's: a Zipf tail in random order, with noise."""
    generator = torch.Generator().manual_seed(0)
    tail = torch.empty(batch, vocab).exponential_(1 / 1.5, generator=generator)
    return tail.add_(torch.randn(batch, vocab, generator=generator), alpha=0.8)


def contest(seconds: float = 0.15) -> Iterator[Result]:
    """Time every case, each peer for about `seconds`; results come as they are known."""
    for batch, vocab in SIZES:
        logits = lm_like(batch, vocab)
        for name, filters in FILTERS.items():
            calls = _calls(logits, filters)
            _check(logits, filters)
            times = _interleaved(calls, seconds)
            yield Result(
                batch=batch,
                vocab=vocab,
                filters=name,
                floor=times["floor"],
                onedraw=times["onedraw"],
                torch=times["torch"],
                huggingface=times.get("huggingface"),
            )


def _calls(logits: Tensor, filters: Mapping[str, Any]) -> dict[str, Call]:
    from onedraw import _core

    threads = torch.get_num_threads()
    sampler = onedraw.Sampler(**filters, seed=0)
    calls: dict[str, Call] = {
        "floor": lambda: _core.floor(logits, threads),
        "onedraw": lambda: sampler(logits),
        "torch": lambda: _torch_idiom(logits, filters),
    }
    chain = _processors(filters)
    if chain is not None:
        calls["huggingface"] = lambda: _drawn(chain(None, logits.clone()), filters)
    return calls


def _drawn(scores: Tensor, filters: Mapping[str, Any]) -> Tensor:
    if filters["temperature"] == 0:
        return scores.argmax(dim=-1)
    return torch.multinomial(torch.softmax(scores, dim=-1), 1).squeeze(-1)


def _torch_idiom(logits: Tensor, filters: Mapping[str, Any]) -> Tensor:
    """[B]: topk, sort, softmax, cumsum, scatter, multinomial, as most loops have it."""
    if filters["temperature"] == 0:
        return logits.argmax(dim=-1)
    scores = logits / filters["temperature"]
    if "top_k" in filters:
        least = torch.topk(scores, filters["top_k"]).values[:, -1:]
        scores = scores.masked_fill(scores < least, -torch.inf)
    if "top_p" in filters:
        ordered, order = torch.sort(scores, dim=-1, descending=True)
        share = ordered.softmax(dim=-1)
        beyond = share.cumsum(dim=-1) - share >= filters["top_p"]
        scores = scores.masked_fill(beyond.scatter(1, order, beyond), -torch.inf)
    if "min_p" in filters:
        share = scores.softmax(dim=-1)
        least = filters["min_p"] * share.amax(dim=-1, keepdim=True)
        scores = scores.masked_fill(share < least, -torch.inf)
    return _drawn(scores, filters)


def _processors(filters: Mapping[str, Any]) -> Callable[[object, Tensor], Tensor] | None:
    """The chain that transformers' `generate` builds, or None without transformers."""
    try:
        from transformers.generation import logits_process as hf
    except ImportError:
        return None
    chain = hf.LogitsProcessorList()
    if filters["temperature"] not in (0, 1):
        chain.append(hf.TemperatureLogitsWarper(float(filters["temperature"])))
    if "top_k" in filters:
        chain.append(hf.TopKLogitsWarper(filters["top_k"]))
    if "top_p" in filters:
        chain.append(hf.TopPLogitsWarper(filters["top_p"]))
    if "min_p" in filters:
        chain.append(hf.MinPLogitsWarper(filters["min_p"]))
    apply: Callable[[object, Tensor], Tensor] = chain
    return apply


def _check(logits: Tensor, filters: Mapping[str, Any]) -> None:
    """Before anything is timed: what is drawn is among what is kept, and greedy is the maximum."""
    token = onedraw.sample(logits, **filters, seed=1, position=0)
    kept = onedraw.kept_mask(logits, **filters).gather(-1, token.unsqueeze(-1))
    greedy_wrong = filters["temperature"] == 0 and not torch.equal(token, logits.argmax(dim=-1))
    if not bool(kept.all()) or greedy_wrong:
        raise RuntimeError(f"wrong answer for {dict(filters)}: nothing was timed")


def _interleaved(calls: Mapping[str, Call], seconds: float) -> dict[str, float]:
    """The least microseconds of each call, in rounds: other work of the machine only ever adds to them."""
    repeats = {}
    for name, call in calls.items():
        call()
        repeats[name] = max(1, round(0.002 / max(_stretch(call, 1), 1e-7)))
    found: dict[str, list[float]] = {name: [] for name in calls}
    spent = dict.fromkeys(calls, 0.0)
    while any(spent[name] < seconds or len(found[name]) < 3 for name in calls):
        for name, call in calls.items():
            if spent[name] < seconds or len(found[name]) < 3:
                each = _stretch(call, repeats[name])
                found[name].append(each)
                spent[name] += each * repeats[name]
    return {name: 1e6 * min(times) for name, times in found.items()}


def _stretch(call: Call, times: int) -> float:
    """Seconds a call."""
    begin = time.perf_counter()
    for _ in range(times):
        call()
    return (time.perf_counter() - begin) / times
