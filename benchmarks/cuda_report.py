"""RESULTS-CUDA.md from the JSON lines of a run on a GPU.

python -m benchmarks.cuda_report [--results FILE] [--decode FILE] [--out FILE]
"""

import argparse
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.cases import BATCHES, VOCABULARIES
from benchmarks.cuda_cases import PEERS
from benchmarks.data import DISTRIBUTIONS, DTYPES
from benchmarks.filters import FILTERS
from benchmarks.report import (
    HERE,
    Record,
    by_axis,
    by_peer,
    decode_section,
    environment_section,
    extra,
    load,
    ratio,
)

INTRODUCTION = """# Results on a GPU

Written by `python -m benchmarks.cuda_report` from `{results}`; do not edit. Measured on {gpu}. Every number without a
unit is a ratio to *the floor*: torch's largest element of all the logits, one streaming read of them, measured in turn
with the others. *Cold*: buffers of twice the second-level cache rotate; *warm*: one buffer. *Graph*: calls inside
replayed CUDA graphs; *eager*: calls one by one from Python. Times are CUDA events'. Answers were checked first.
The logits are LM-like, float32, V = 128,256, cold, graph, unless a heading says otherwise. An empty place:
the peer is not installed, has not these filters, or no graph can hold it.
"""


def select(records: Iterable[Record], **axes: Any) -> list[Record]:
    """The records at these values of the axes; those not named are at the middle of the star, None is any."""
    middle = {
        "vocab": 128_256,
        "dtype": "float32",
        "distribution": "lm",
        "cache": "cold",
        "launch": "graph",
    }
    wanted = {**middle, **axes}
    return [
        record
        for record in records
        if all(value is None or record[name] == value for name, value in wanted.items())
    ]


def floor(record: Record) -> str:
    microseconds = record["peers"]["floor"]["median_us"]
    return f"{microseconds:.1f} us, {record['floor_gb_s']:,.0f} GB/s"


def sections(records: Sequence[Record]) -> Iterator[str]:
    for launch, cache in (("graph", "cold"), ("graph", "warm"), ("eager", "cold")):
        for batch in BATCHES:
            if found := select(records, batch=batch, launch=launch, cache=cache):
                yield f"## Batch {batch}, {cache}, {launch}\n"
                yield from by_peer(found, ratio, floor, PEERS[1:])
    for batch in (1, 64):
        if found := select(records, batch=batch):
            yield f"## Peak extra memory in MiB, batch {batch}\n"
            yield from by_peer(found, extra, lambda record: extra(record, "floor"), PEERS[1:])
    axes: list[tuple[str, str, Iterable[Any]]] = [
        ("Vocabulary", "vocab", VOCABULARIES),
        ("dtype", "dtype", DTYPES),
        ("Distribution", "distribution", DISTRIBUTIONS),
    ]
    for title, axis, values in axes:
        for batch in (1, 64):
            found = select(records, batch=batch, **{axis: None})
            if len({record[axis] for record in found}) > 1:
                for peer in ("onedraw", "torch smart", "flashinfer"):
                    if any(peer in record["peers"] for record in found):
                        yield f"## {title}, batch {batch}: {peer}\n"
                        yield from by_axis(found, axis, values, list(FILTERS), peer)
    if reasons := left_out(records):
        yield "## Left out\n"
        yield from reasons
        yield ""


def left_out(records: Sequence[Record]) -> list[str]:
    reasons = {
        f"- {peer}: {reason}"
        for record in records
        for peer, reason in record.get("left_out", {}).items()
    }
    return sorted(reasons)


def report(records: Sequence[Record], results: str, decode: Path | None = None) -> str:
    gpu = records[0]["environment"]["gpu"] or {"name": "no GPU"}
    lines = [INTRODUCTION.format(results=results, gpu=gpu["name"]), *sections(records)]
    if decode is not None and decode.exists():
        lines += decode_section(decode)
    lines += environment_section(records[0])
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description="tables of a run on a GPU")
    parser.add_argument("--results", type=Path, default=HERE / "results-cuda.jsonl")
    parser.add_argument("--decode", type=Path, default=HERE / "decode-cuda.jsonl")
    parser.add_argument("--out", type=Path, default=HERE / "RESULTS-CUDA.md")
    chosen = parser.parse_args()
    chosen.out.write_text(report(load(chosen.results), chosen.results.name, chosen.decode))
    print(chosen.out)


if __name__ == "__main__":
    main()
