"""Which points on the axes a run on a GPU measures."""

from collections.abc import Iterator
from dataclasses import replace

from benchmarks.cases import BATCHES, VOCABULARIES, Case, unique
from benchmarks.filters import FILTERS

PEERS = (
    "floor",
    "onedraw",
    "torch idiom",
    "torch smart",
    "huggingface",
    "flashinfer",
    "vllm triton",
)
FAST = ("floor", "onedraw", "torch smart", "flashinfer", "vllm triton")
BUSY = ("temperature", "top-p 0.9", "top-k 50 + top-p 0.9")  # filters for which the mass matters


def middle(filters: str, batch: int) -> Case:
    """Logits come from memory, the call from a replayed graph: as in a decode step of a server."""
    return Case(filters, batch=batch, peers=PEERS, device="cuda", cache="cold", launch="graph")


def star() -> Iterator[Case]:
    """One axis at a time from the middle: V = 128,256, float32, LM-like, cold, graph."""
    for batch in BATCHES:
        for name in FILTERS:
            yield middle(name, batch)
    for batch in (1, 64):
        for name in FILTERS:
            case = middle(name, batch)
            yield replace(case, launch="eager")
            yield replace(case, cache="warm")
            light = replace(case, peers=FAST)
            for dtype in ("bfloat16", "float16"):
                yield replace(light, dtype=dtype)
            if name in BUSY:
                for vocab in VOCABULARIES:
                    yield replace(light, vocab=vocab)
            if name != "greedy":
                for distribution in ("peaked", "flat", "all equal", "mostly -inf"):
                    yield replace(light, distribution=distribution)


def full() -> list[Case]:
    """Every value of every axis, about 120 cases."""
    return unique(star())


def quick() -> list[Case]:
    """The filter sets at batch 1 and 64, an adverse row, a second dtype, without a graph, from the cache."""
    cases = [middle(name, batch) for batch in (1, 64) for name in FILTERS]
    for name in BUSY[1:]:
        case = middle(name, 64)
        cases += [
            replace(case, distribution="flat", peers=FAST),
            replace(case, dtype="bfloat16"),
            replace(case, launch="eager"),
            replace(case, cache="warm"),
        ]
    return unique(iter(cases))
