"""The report's words and tables."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from benchmarks.budget.sass import CLASSES

Record = dict[str, Any]

FIRST = "top-k 50 + top-p 0.9"  # the filters whose times are shown first
SHOWN = (FIRST, "top-p 0.9", "temperature", "greedy")
MEDIUM = 64  # from this batch on, a time has to be near the larger of read time and issue time

HEAD = """# Budget of the CUDA kernels: estimated, not measured

Written by `python -m benchmarks.gpu_budget`; do not edit. Nothing here was run on a GPU. Instructions, registers
and loads are read from the machine code that nvcc made ({compiler}); reads of the logits are counted by executing
nvcc's PTX on a CPU (`python -m benchmarks.gpu_reads`); times are arithmetic on datasheets. What a GPU really takes
is measured by `make bench-gpu`.
"""

LOOP = """The loops that read a row and weigh it: one trip, by the path that usual rows take, with the widest loads and
the weights of all that they loaded. Instructions a logit and thread, by class: *warp* are shuffles, votes and the
like; *slow* are conversions, double, the function unit and calls. The leanest loop of a kernel is for rows whose
address is a multiple of 16 bytes; one that loads twice the bytes of a logit puts other rows straight; what else there
is, is for rows with edits and for the ends of a row.
"""

READS = """Counted on the logits of `benchmarks/data.py`, mean of some rows. *From memory* is what a cache without an
end would have to read: the row once, and once more each block of 64 that is looked at again. *Issued* is all that
is loaded: looks after the first come from the second-level cache as long as the rows in flight fit into it.
*Workspace* is bytes a row through the cache. Of the thread block that comes last and finishes the row: *barriers* and
*shuffles* of a thread, *waits*, the stretches between barriers in which it loads, and the bytes it loads.
"""

FORMULA = """```
read     bytes from memory (logits as counted, workspace written) / bandwidth of the datasheet
issue    warp instructions of the mass loop / (multiprocessors x 4 schedulers x clock)
unit     the same for the busiest unit: its instructions x 32 / results a clock, a multiprocessor
latency  trips of a thread x (memory latency + shuffles x 25 + its instructions) / clock, for each wave
finish   by the thread block that comes last: (barriers x 40 + shuffles x 25 + stretches between barriers with loads x
         latency of the cache + bytes that it loads / 64 a clock) / clock, for each wave
total    launch + max(read, issue, unit, latency) + finish
```

Only multiprocessors that have a thread block issue and read. Assumed: {assumed}. The logits are taken to come from
memory, as after a matrix product that wrote more than the cache holds. In each cell: **total** (read,
issue, finish), in us. Every filter is taken to need the weights of all, although greedy, top-k and min-p do not.
"""

PUBLISHED = """Figures that others published, each from its source, for the shape and GPU given there: not measured by
us, mostly warm in the cache, and not all of the same work (a filter alone, or from probabilities). Beside them our
estimate for the nearest shape on the same GPU, where it is among ours.
"""


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    yield "| " + " | ".join(head) + " |"
    yield "|" + "---|" * len(head)
    for row in rows:
        yield "| " + " | ".join(row) + " |"
    yield ""


def hot_kernels(found: Record) -> list[Record]:
    return [kernel for kernel in found["kernels"] if kernel["mass_loops"]]


def lm(found: Record) -> list[Record]:
    return [entry for entry in found["reads"] if entry["distribution"] == "lm"]


def verdict(value: float, goal: float) -> str:
    return "met" if value <= goal else "**not met**"


def budgets(found: Record) -> Iterator[str]:
    loops = [kernel["mass_loops"][0] for kernel in hot_kernels(found)]
    others = [x["per_logit"] for kernel in hot_kernels(found) for x in kernel["mass_loops"][1:]]
    large = [entry for entry in found["estimates"] if entry["batch"] >= MEDIUM]
    issued = max(entry["reads_issued"] for entry in found["reads"])
    kept = "float32 rows of V = 128,256 that fit into the cache: " + ", ".join(
        f"{name} {device['cache_mib'] * 2**20 // (4 * 128_256)}"
        for name, device in found["devices"]["devices"].items()
    )
    worst = max(large, key=lambda entry: entry["over"])
    met = sum(entry["over"] <= 1.5 for entry in large)
    spills = max(k["spill_stores"] + k["spill_loads"] for k in found["kernels"])
    where = f"{worst['device']}, batch {worst['batch']}, V = {worst['vocab']:,}, {worst['dtype']}, {worst['filters']}"
    from_memory = max(entry["reads_from_memory"] for entry in found["reads"])
    values: list[tuple[str, float, float, str]] = [
        ("launches a call", found["launches"], 1, ""),
        (
            "reads of the logits from memory, LM-like rows",
            max(entry["reads_from_memory"] for entry in lm(found)),
            1.15,
            "",
        ),
        ("the same, any row, where the cache keeps the rows in flight", from_memory, 2, ""),
        ("the same, any row, where it keeps nothing: all that is loaded", issued, 2, kept),
        (
            "instructions a logit in the mass loop",
            max(loop["per_logit"] for loop in loops),
            32,
            f"the leanest loop; those for other rows up to {max(others):.1f}" if others else "",
        ),
        ("of them slow", max(loop["classes"].get("slow", 0) for loop in loops), 0, ""),
        ("bytes of spills", spills, 0, ""),
        ("bytes of stack", max(k["stack"] for k in found["kernels"]), 0, ""),
        (
            "registers",
            max(k["registers"] for k in hot_kernels(found) if not k["kernel"].endswith(", 1>")),
            64,
            "of the kernels for tokens alone; the reason is in `csrc/cuda/budget.json`",
        ),
        (
            f"time over the larger of read and issue, batch {MEDIUM} and more",
            worst["over"],
            1.5,
            f"{where}; {met} of {len(large)} cases are within",
        ),
    ]
    yield "## Budgets\n"
    yield "The worst of all kernels, architectures and cases below.\n"
    rows = [
        [name, f"{goal:g}", f"{round(value, 3):g}", verdict(value, goal), note]
        for name, value, goal, note in values
    ]
    yield from table(["", "goal: at most", "found", "", ""], rows)
    over = [entry for entry in large if entry["over"] > 1.5]
    serial = sum(entry["launch"] + entry["finish"] > entry["scan"] / 2 for entry in over)
    yield (
        f"In {serial} of the {len(over)} cases that are over, launch and *finish* (below: what the last thread block\n"
        "of a row does, one step after another) add more than half of the time of the scan.\n"
    )


def statics(found: Record) -> Iterator[str]:
    yield "## Kernels\n"
    head = [
        "kernel",
        "sm",
        "registers",
        "stack",
        "spills",
        "shared",
        "threads",
        "blocks",
        "occupancy",
    ]
    rows = [
        [
            f"`{kernel['kernel']}`",
            kernel["architecture"],
            str(kernel["registers"]),
            str(kernel["stack"]),
            f"{kernel['spill_stores']} + {kernel['spill_loads']}",
            str(kernel["shared"]),
            str(kernel["threads"]),
            str(kernel["blocks_per_multiprocessor"]),
            f"{100 * kernel['occupancy']:.0f} %",
        ]
        for kernel in found["kernels"]
    ]
    yield from table(head, rows)
    yield (
        "Stack, spills (stored + loaded) and shared memory in bytes; blocks that live on a multiprocessor at a time. "
        f"Launches in the sources: {found['launches']}.\n"
    )


def loops(found: Record) -> Iterator[str]:
    yield "## The mass loop\n"
    yield LOOP
    rows = [
        [
            f"`{kernel['kernel']}`" if number == 0 else "",
            kernel["architecture"] if number == 0 else "",
            f"**{loop['per_logit']:.1f}**" if number == 0 else f"{loop['per_logit']:.1f}",
            *(f"{loop['classes'].get(name, 0):.1f}" for name in CLASSES),
            f"{8 * loop['widest_load']} bits",
            f"{loop['loaded_a_logit']:g}",
            str(loop["logits"]),
            f"{loop['stored_a_block']:g}",
        ]
        for kernel in hot_kernels(found)
        for number, loop in enumerate(kernel["mass_loops"])
    ]
    head = [
        "kernel",
        "sm",
        "all",
        *CLASSES,
        "loads",
        "bytes a logit",
        "logits a trip",
        "stored a block",
    ]
    yield from table(head, rows)


def reads(found: Record) -> Iterator[str]:
    yield "## Reads of the logits\n"
    yield READS
    head = [
        "rows",
        "V",
        "logits",
        "filters",
        "from memory",
        "issued",
        "workspace written",
        "workspace read",
        "barriers",
        "shuffles",
        "waits",
        "loaded",
    ]
    rows = [
        [
            entry["distribution"],
            f"{entry['vocab']:,}",
            entry["dtype"],
            entry["filters"],
            f"{entry['reads_from_memory']:.3f}",
            f"{entry['reads_issued']:.2f}",
            f"{entry['workspace_stored']:,.0f}",
            f"{entry['workspace_loaded']:,.0f}",
            str(entry["barriers"]),
            str(entry["shuffles"]),
            str(entry["waits"]),
            f"{entry['finish_loaded']:,}",
        ]
        for entry in found["reads"]
    ]
    yield from table(head, rows)


def cell(entry: Record) -> str:
    return f"**{entry['total']:.1f}** ({entry['read']:.1f}, {entry['issue']:.1f}, {entry['finish']:.1f})"


def times(found: Record) -> Iterator[str]:
    assumptions = found["devices"]["assumptions"].items()
    words = ", ".join(f"{name.replace('_', ' ')} {value:g}" for name, value in assumptions)
    yield "## Estimated times, not measured\n"
    yield FORMULA.format(assumed=words)
    batches = sorted({entry["batch"] for entry in found["estimates"]})
    for filters in SHOWN:
        yield f"### {filters}\n"
        rows: dict[tuple[str, str, int], list[str]] = {}
        for entry in found["estimates"]:
            if entry["filters"] == filters:
                key = (entry["device"], entry["dtype"], entry["vocab"])
                rows.setdefault(key, []).append(cell(entry))
        head = ["GPU", "logits", "V", *(f"batch {batch}" for batch in batches)]
        yield from table(
            head,
            [[gpu, dtype, f"{vocab:,}", *cells] for (gpu, dtype, vocab), cells in rows.items()],
        )


def ours(found: Record, figure: Record) -> str:
    """Our estimate nearest to a published figure: the same GPU and batch, the nearest vocabulary and filters."""
    fitting = [
        entry
        for entry in found["estimates"]
        if entry["device"] == figure["gpu"]
        and entry["batch"] == figure["batch"]
        and entry["dtype"] == figure["dtype"]
        and entry["filters"].split()[0] == figure["filters"].split()[0]
        and ("+" in entry["filters"]) == ("+" in figure["filters"])
    ]
    best = min(fitting, key=lambda entry: abs(entry["vocab"] - figure["vocab"]), default=None)
    return "" if best is None else f"{best['total']:.0f} (estimated, V = {best['vocab']:,})"


def published(found: Record) -> Iterator[str]:
    yield "## What others published\n"
    yield PUBLISHED
    head = [
        "who",
        "GPU",
        "batch",
        "V",
        "logits",
        "filters",
        "us",
        "how",
        "our estimate, us",
        "source",
    ]
    rows = [
        [
            figure["who"],
            figure["gpu"],
            str(figure["batch"]),
            f"{figure['vocab']:,}",
            figure["dtype"],
            figure["filters"],
            f"{figure['us']:g}",
            figure["how"],
            ours(found, figure),
            f"<{figure['source']}>",
        ]
        for figure in found["published"]
    ]
    yield from table(head, rows)


def sources(found: Record) -> Iterator[str]:
    yield "## Datasheets\n"
    rows = [
        [
            device["name"],
            device["architecture"],
            str(device["multiprocessors"]),
            f"{device['clock_ghz']:g}",
            f"{device['bandwidth_gb_s']:,}",
            str(device["cache_mib"]),
            device["source"],
        ]
        for device in found["devices"]["devices"].values()
    ]
    head = ["GPU", "sm", "multiprocessors", "GHz", "GB/s", "cache, MiB", "source"]
    yield from table(head, rows)
    for name, text in found["devices"]["sources"].items():
        yield f"- {name}: {text}"


def report(found: Record) -> str:
    lines = [HEAD.format(compiler=found["compiler"])]
    for section in (budgets, statics, loops, reads, times, published, sources):
        lines += section(found)
    return "\n".join(lines) + "\n"
