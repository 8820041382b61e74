"""RESULTS.md and results.png from the JSON lines of a run.

python -m benchmarks.report [--results FILE] [--out FILE] [--plot FILE] [--decode FILE]
"""

import argparse
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.cases import BATCHES, EVERY_PEER, VOCABULARIES
from benchmarks.data import DISTRIBUTIONS, DTYPES, MEMORY_BATCH
from benchmarks.filters import FILTERS

HERE = Path(__file__).parent
Record = dict[str, Any]

INTRODUCTION = """# Results

Written by `python -m benchmarks.report` from `results.jsonl`; do not edit. How to read it: every
number without a unit is a ratio to *the floor*, one streaming read of the same logits by the same
number of threads in the same process (a maximum over each row), measured in turn with
the others. Batches of {memory_batch} and more are read from memory (buffers of four times the last
cache rotate), smaller ones from the cache. Answers were checked before they were timed. The logits are
LM-like, float32, V = 128,256, one thread, unless a heading says otherwise. `*` marks medians of
fewer than 7 measurements.
"""


def load(path: Path) -> list[Record]:
    return [json.loads(line) for line in path.read_text().splitlines() if line]


def select(records: Iterable[Record], **axes: Any) -> list[Record]:
    """The records at these values of the axes; those not named are at the middle of the star."""
    middle = {
        "vocab": 128_256,
        "dtype": "float32",
        "distribution": "lm",
        "threads": 1,
        "kernel_forced": False,
    }
    wanted = {**middle, **axes}
    return [
        record
        for record in records
        if all(value is None or record[name] == value for name, value in wanted.items())
    ]


def ratio(record: Record, peer: str) -> str:
    values = record["peers"].get(peer)
    if values is None:
        return ""
    text = f"{values['ratio']:.2f}" if values["ratio"] < 10 else f"{values['ratio']:.0f}"
    return text + ("*" if values["rounds"] < 7 else "")


def extra(record: Record, peer: str) -> str:
    size = record["peers"].get(peer, {}).get("extra_bytes")
    return "" if size is None else f"{size / 2**20:.1f}"


def markdown(head: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    yield "| " + " | ".join(head) + " |"
    yield "|" + "---|" * len(head)
    for row in rows:
        yield "| " + " | ".join(row) + " |"
    yield ""


def floor_time(record: Record) -> str:
    return f"{record['peers']['floor']['median_us']:.1f} us"


def by_peer(
    records: Sequence[Record],
    cell: Callable[[Record, str], str],
    floor: Callable[[Record], str],
    peers: Sequence[str] = EVERY_PEER[1:],
) -> Iterator[str]:
    """Filters down, peers across; what stands under the floor is not a ratio to it."""
    peers = [peer for peer in peers if any(peer in r["peers"] for r in records)]
    rows = [[r["filters"], floor(r), *(cell(r, peer) for peer in peers)] for r in records]
    yield from markdown(["filters", "floor", *peers], rows)


def by_axis(
    records: Sequence[Record], axis: str, values: Iterable[Any], names: Sequence[str], peer: str
) -> Iterator[str]:
    """Filters down, the values of one axis across, one peer."""
    present = [value for value in values if any(record[axis] == value for record in records)]
    rows = []
    for name in names:
        found = {record[axis]: record for record in records if record["filters"] == name}
        if found:
            cells = [ratio(found[value], peer) if value in found else "" for value in present]
            rows.append([name, *cells])
    if rows:
        yield from markdown(["filters", *(str(value) for value in present)], rows)


def sections(records: Sequence[Record]) -> Iterator[str]:
    names = list(FILTERS)
    for batch in BATCHES:
        if found := select(records, batch=batch):
            yield f"## Batch {batch} ({found[0]['read_from']})\n"
            yield from by_peer(found, ratio, floor_time)
    for batch in (1, 8, 64):
        found = [r for r in select(records, batch=batch) if "extra_bytes" in r["peers"]["floor"]]
        if found:
            yield f"## Peak extra memory in MiB, batch {batch}\n"
            yield from by_peer(found, extra, lambda record: extra(record, "floor"))
    axes: list[tuple[str, str, Iterable[Any], dict[str, Any]]] = [
        ("Vocabulary", "vocab", VOCABULARIES, {"vocab": None}),
        ("dtype", "dtype", DTYPES, {"dtype": None}),
        ("Distribution", "distribution", DISTRIBUTIONS, {"distribution": None}),
        ("Threads", "threads", (1, 2), {"threads": None}),
    ]
    for title, axis, values, free in axes:
        for batch in (1, 64):
            found = select(records, batch=batch, **free)
            if len({record[axis] for record in found}) > 1:
                for peer in ("onedraw", "torch smart"):
                    yield f"## {title}, batch {batch}: {peer}\n"
                    yield from by_axis(found, axis, values, names, peer)
    for batch in (1, 64):
        if found := select(records, batch=batch, kernel_forced=True):
            yield f"## Kernel, batch {batch}: onedraw core, ratio to the best kernel's floor\n"
            kernels = dict.fromkeys(record["kernel"] for record in found)
            yield from by_axis(found, "kernel", kernels, names, "onedraw core")


def decode_section(path: Path) -> Iterator[str]:
    """What `benchmarks.decode` wrote."""
    records = load(path)
    yield "## Decoding with SmolLM2-135M-Instruct (temperature 0.8, top-k 50, top-p 0.9)\n"
    head = ["batch", "onedraw", "transformers", "ratio", "onedraw's share", "transformers' share"]
    rows = [
        [
            str(record["batch"]),
            f"{record['onedraw']['tokens_per_s']:.1f} tokens/s",
            f"{record['transformers']['tokens_per_s']:.1f} tokens/s",
            f"{record['speedup']:.2f}",
            f"{100 * record['onedraw']['sampling_share']:.2f} %",
            f"{100 * record['transformers']['sampling_share']:.2f} %",
        ]
        for record in records
    ]
    yield from markdown(head, rows)


def environment_section(record: Record) -> Iterator[str]:
    yield "## Environment\n"
    yield "```json"
    yield json.dumps(record["environment"], indent=2)
    yield "```"


def picture(records: Sequence[Record], path: Path) -> None:
    """Bars of the ratio to the floor, one group a filter set, one panel a batch."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    panels = [(batch, found) for batch in BATCHES if (found := select(records, batch=batch))]
    if not panels:
        return
    figure, axes = pyplot.subplots(
        1, len(panels), figsize=(5.2 * len(panels), 4.4), sharey=True, squeeze=False
    )
    peers = [peer for peer in EVERY_PEER if peer not in ("floor", "onedraw core")]
    for axis, (batch, found) in zip(axes[0], panels, strict=True):
        for index, peer in enumerate(peers):
            places = [place for place, record in enumerate(found) if peer in record["peers"]]
            axis.bar(
                [place + 0.16 * (index - 2) for place in places],
                [found[place]["peers"][peer]["ratio"] for place in places],
                width=0.15,
                label=peer,
            )
        axis.axhline(1.0, color="black", linewidth=1)
        axis.set_yscale("log")
        axis.set_xticks(range(len(found)), [r["filters"] for r in found], rotation=30, ha="right")
        axis.set_title(f"batch {batch}, from {found[0]['read_from']}")
    axes[0][0].set_ylabel("time / time of one read of the logits")
    axes[0][-1].legend(*axes[0][0].get_legend_handles_labels(), fontsize="small")
    figure.suptitle("One draw a row, V = 128,256, float32, one thread")
    figure.tight_layout()
    figure.savefig(path, dpi=130)


def main() -> None:
    parser = argparse.ArgumentParser(description="tables and picture of a run")
    parser.add_argument("--results", type=Path, default=HERE / "results.jsonl")
    parser.add_argument("--decode", type=Path, default=HERE / "decode.jsonl")
    parser.add_argument("--out", type=Path, default=HERE / "RESULTS.md")
    parser.add_argument("--plot", type=Path, default=HERE / "results.png")
    chosen = parser.parse_args()
    records = load(chosen.results)
    introduction = INTRODUCTION.format(memory_batch=MEMORY_BATCH)
    lines = [introduction, f"![ratios]({chosen.plot.name})\n", *sections(records)]
    if chosen.decode.exists():
        lines += decode_section(chosen.decode)
    lines += environment_section(records[0])
    chosen.out.write_text("\n".join(lines) + "\n")
    picture(records, chosen.plot)
    print(f"{chosen.out} and {chosen.plot}")


if __name__ == "__main__":
    main()
