"""The harness: check, time and record every case.

    python -m benchmarks.run [--device cuda] [--quick] [--out FILE] [--only TEXT] [--peers NAME,...]

One JSON line a case goes to FILE as soon as it is measured, with the environment it was measured in;
`python -m benchmarks.report` makes the tables and the picture of it.
"""

import argparse
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from benchmarks import cuda_cases, cuda_run, memory
from benchmarks.cases import Case, full, quick
from benchmarks.check import check_peer, expect
from benchmarks.data import MEMORY_BATCH, make_buffers, make_logits
from benchmarks.environment import describe
from benchmarks.filters import FILTERS
from benchmarks.peers import PEERS
from benchmarks.timing import interleaved
from onedraw import _core

HERE = Path(__file__).parent
RESULTS = {"cpu": HERE / "results.jsonl", "cuda": HERE / "results-cuda.jsonl"}
FULL_BUDGET_S = 2.5  # of timing, a case
QUICK_BUDGET_S = 1.5


def kernels() -> tuple[str, ...]:
    """The compiled kernels that this machine can run, none where the core is not built."""
    return tuple(kernel["name"] for kernel in _core.kernels() if kernel["supported"])


def choose_kernel(name: str | None) -> str:
    """Force a kernel for the whole process (None: onedraw's own choice); what is in force."""
    _core.set_kernel(name)
    chosen: str = _core.kernel()
    return chosen


def measure(case: Case, budget_s: float) -> dict[str, Any]:
    """One case's record, without memory and environment; raises `WrongAnswerError` before timing."""
    if case.device == "cuda":
        return cuda_run.measure(case, budget_s)
    torch.set_num_threads(case.threads)
    torch.manual_seed(0)
    chosen = choose_kernel(case.kernel)
    filters = FILTERS[case.filters]
    logits = make_logits(case.distribution, case.batch, case.vocab, case.dtype)
    draws = {name: PEERS[name].prepare(filters, case.threads, logits) for name in case.peers}
    expected = expect(filters, logits)
    for name, draw in draws.items():
        check_peer(name, filters, logits, expected, draw)
    del expected
    buffers = make_buffers(logits)
    timings = interleaved(draws, buffers, budget_s)
    base = timings["floor"].median_us
    return {
        "filters": case.filters,
        "batch": case.batch,
        "vocab": case.vocab,
        "dtype": case.dtype,
        "distribution": case.distribution,
        "threads": case.threads,
        "kernel": chosen,
        "kernel_forced": case.kernel is not None,
        "read_from": "memory" if case.batch >= MEMORY_BATCH else "cache",
        "buffers": len(buffers),
        "peers": {
            name: {**timing.record(), "ratio": timing.median_us / base}
            for name, timing in timings.items()
        },
    }


def add_memory(records: Sequence[dict[str, Any]], cases: Sequence[Case]) -> None:
    """Put `extra_bytes` into the records of float32, LM-like cases of one thread."""
    chosen = [
        index
        for index, case in enumerate(cases)
        if (case.device, case.dtype, case.distribution, case.threads) == ("cpu", "float32", "lm", 1)
        and case.kernel is None
        and case.batch in (1, 8, 64)
        and case.vocab == 128_256
    ]
    found = memory.measure([cases[index] for index in chosen])
    for index, peaks in zip(chosen, found, strict=True):
        for name, peak in peaks.items():
            records[index]["peers"][name]["extra_bytes"] = peak


def line(record: dict[str, Any]) -> str:
    """The ratios of a record, for the eye."""
    floor_us = record["peers"]["floor"]["median_us"]
    parts = [f"floor {floor_us:.1f} us"]
    parts += [
        f"{name} {values['ratio']:.2f}"
        for name, values in record["peers"].items()
        if name != "floor"
    ]
    return ", ".join(parts)


def write(path: Path, records: Sequence[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    text = "".join(json.dumps(record, separators=(",", ":")) + "\n" for record in records)
    path.write_text(text)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--quick", action="store_true", help="few cases, under two minutes")
    parser.add_argument("--device", choices=tuple(RESULTS), default="cpu")
    parser.add_argument("--out", type=Path, help="the JSON lines' file")
    parser.add_argument("--only", default="", help="cases whose description contains this text")
    parser.add_argument("--peers", default="", help="only these peers, separated by commas")
    parser.add_argument("--budget", type=float, help="seconds of timing a case")
    return parser.parse_args()


def cases_of(device: str, is_quick: bool) -> list[Case]:
    if device == "cuda":
        return cuda_cases.quick() if is_quick else cuda_cases.full()
    return (quick if is_quick else full)(kernels(), torch.get_num_threads())


def main() -> None:
    chosen = arguments()
    if chosen.device == "cuda" and not torch.cuda.is_available():
        sys.exit("--device cuda: torch sees no CUDA device")
    out = chosen.out or RESULTS[chosen.device]
    cases = cases_of(chosen.device, chosen.quick)
    cases = [case for case in cases if chosen.only in str(case)]
    if chosen.peers:
        wanted = tuple(chosen.peers.split(","))
        unknown = [name for name in wanted if name not in PEERS]
        if unknown or "floor" not in wanted:
            sys.exit(f"--peers: the floor and any of {', '.join(PEERS)}; given {chosen.peers}")
        cases = [
            replace(case, peers=tuple(name for name in case.peers if name in wanted))
            for case in cases
        ]
    budget = chosen.budget or (QUICK_BUDGET_S if chosen.quick else FULL_BUDGET_S)
    environment = describe()
    records: list[dict[str, Any]] = []
    begin = time.perf_counter()
    for number, case in enumerate(cases, 1):
        records.append({**measure(case, budget), "environment": environment})
        print(f"[{number}/{len(cases)}] {case}: {line(records[-1])}", flush=True)
        write(out, records)
    add_memory(records, cases)
    write(out, records)
    print(f"{len(records)} cases in {time.perf_counter() - begin:.0f} s -> {out}")


if __name__ == "__main__":
    main()
