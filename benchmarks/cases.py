"""The named axes, and which of their combinations a run measures."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from benchmarks.filters import FILTERS

BATCHES = (1, 8, 64, 256)
VOCABULARIES = (32_000, 50_257, 128_256, 151_936, 262_144)

EVERY_PEER = (
    "floor",
    "onedraw",
    "onedraw core",
    "torch idiom",
    "torch smart",
    "huggingface",
    "numpy",
)
FAST_PEERS = ("floor", "onedraw", "onedraw core", "torch smart")
OWN_PEERS = ("floor", "onedraw", "onedraw core")


@dataclass(frozen=True)
class Case:
    """One point on the axes; `kernel` None is the one that onedraw chooses itself."""

    filters: str
    batch: int = 64
    vocab: int = 128_256
    dtype: str = "float32"
    distribution: str = "lm"
    threads: int = 1
    kernel: str | None = None
    peers: tuple[str, ...] = EVERY_PEER
    device: str = "cpu"
    cache: str = ""  # on CUDA: "cold" or "warm"
    launch: str = ""  # on CUDA: "graph" or "eager"

    @property
    def key(self) -> tuple[str | int | None, ...]:
        """The axes alone: two cases with the same key measure the same thing."""
        return (
            self.filters,
            self.batch,
            self.vocab,
            self.dtype,
            self.distribution,
            self.threads,
            self.kernel,
            self.device,
            self.cache,
            self.launch,
        )

    def __str__(self) -> str:
        if self.device != "cpu":
            return (
                f"{self.device} B={self.batch} V={self.vocab} {self.dtype} {self.distribution} "
                f"{self.cache} {self.launch} {self.filters}"
            )
        kernel = f" {self.kernel}" if self.kernel else ""
        return (
            f"B={self.batch} V={self.vocab} {self.dtype} {self.distribution} "
            f"threads={self.threads}{kernel} {self.filters}"
        )


def unique(cases: Iterator[Case]) -> list[Case]:
    """The cases in order, the first of each key (it has the most peers)."""
    found: dict[tuple[str | int | None, ...], Case] = {}
    for case in cases:
        found.setdefault(case.key, case)
    return list(found.values())


def star(kernels: tuple[str, ...], cores: int) -> Iterator[Case]:
    """One axis at a time from the middle (V = 128,256, float32, LM-like, one thread)."""
    middle = [Case(name, batch=batch) for batch in (64, 1) for name in FILTERS]
    yield from middle
    for case in middle:
        light = replace(case, peers=FAST_PEERS)
        slow = case.filters in ("top-p 0.9", "top-k 50 + top-p 0.9")
        if case.batch == 1:
            yield replace(case, batch=8)
        else:
            yield replace(light, batch=256)
        if cores > 1:
            yield replace(case if case.batch == 1 else light, threads=2)
        for dtype in ("bfloat16", "float16"):
            yield replace(case if slow and dtype == "bfloat16" else light, dtype=dtype)
        if case.filters in ("temperature", "top-p 0.9", "top-k 50 + top-p 0.9"):
            for vocab in VOCABULARIES:
                yield replace(case if case.batch == 1 else light, vocab=vocab)
        if case.filters != "greedy":
            for distribution in ("peaked", "flat", "all equal", "mostly -inf"):
                yield replace(
                    case if case.batch == 1 and slow else light, distribution=distribution
                )
        for kernel in kernels:
            yield replace(case, kernel=kernel, peers=OWN_PEERS)


def full(kernels: tuple[str, ...], cores: int) -> list[Case]:
    """Every value of every axis, about 150 cases."""
    return unique(star(kernels, cores))


def quick(kernels: tuple[str, ...], cores: int) -> list[Case]:
    """The filter sets at batch 1 and 8, one adverse row, a second dtype: under two minutes."""
    cases = [Case(name, batch=batch) for batch in (1, 8) for name in FILTERS]
    cases += [Case("top-p 0.9", batch=1, distribution="flat")]
    cases += [Case("top-k 50 + top-p 0.9", batch=1, dtype="bfloat16")]
    cases += [Case("top-k 50", batch=64, vocab=32_000, peers=FAST_PEERS)]
    return unique(iter(cases))
