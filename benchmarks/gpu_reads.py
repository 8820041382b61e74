"""How often the CUDA kernel reads the logits, and what else it moves: counted, without a GPU.

    python -m benchmarks.gpu_reads [--package build/cuda/package] [--out benchmarks/budget/reads.json] [--check]

nvcc's own PTX is executed on the CPU by cuda-on-cpu, with a counter before every access of global memory
(`budget/trace.cpp`). A row of logits is read *from memory* as often as a cache without an end, empty between
the first pass and what follows, would have to: once, and once more what is looked at again. `.ci/cuda_on_cpu`
builds the package.
"""

import argparse
import ctypes
import json
import os
import sys
from pathlib import Path
from typing import Any

from benchmarks.budget.trace import ROOT, counting, run

FOLDER = Path("build/counted")
OUT = ROOT / "benchmarks" / "budget" / "reads.json"
VOCABULARIES = (32_000, 128_256)
BLOCK = 64  # tokens of a block: the unit of a look
MOST_READS = {"lm": 1.15, "": 2.0}  # from memory: LM-like rows, any row


def cases() -> list[dict[str, Any]]:
    """LM-like rows with every filter set, in both widths and sizes; adverse rows with the filters that look again."""
    from benchmarks.data import DISTRIBUTIONS
    from benchmarks.filters import FILTERS

    found = [
        {"filters": name, "distribution": "lm", "dtype": dtype, "vocab": vocab, "rows": rows}
        for vocab, rows in zip(VOCABULARIES, (8, 4), strict=True)
        for dtype in ("float32", "bfloat16")
        for name in FILTERS
    ]
    found += [
        {"filters": name, "distribution": kind, "dtype": "float32", "vocab": vocab, "rows": 1}
        for vocab in VOCABULARIES
        for kind in DISTRIBUTIONS
        if kind != "lm"
        for name in ("top-k 50", "top-p 0.9", "top-k 50 + top-p 0.9")
    ]
    return found


def count(case: dict[str, Any]) -> dict[str, Any]:
    """One call's accesses a row; in a process with counters."""
    import torch

    from benchmarks.data import make_logits
    from benchmarks.filters import FILTERS
    from onedraw import _core

    filters = FILTERS[case["filters"]]
    rows, vocab = case["rows"], case["vocab"]
    logits = make_logits(case["distribution"], rows, vocab, case["dtype"])
    space = torch.zeros(_core.cuda_workspace_bytes(0, rows, vocab), dtype=torch.uint8)
    token = torch.empty(rows, dtype=torch.int64)
    status = torch.empty(rows, dtype=torch.int32)
    job: Any = _core.Job()
    job.row_stream = True
    settings = {"seed": 1, "position": 0, "temperature": filters.temperature}
    settings |= {"top_k": filters.top_k or 0, "top_p": filters.top_p or 1.0}
    settings |= {"min_p": filters.min_p or 0.0}
    for name, value in settings.items():
        job.set(name, value)
    job.output("token", token)
    job.output("status", status)

    counters = ctypes.CDLL(os.environ["COUNTERS"])
    unit = BLOCK * logits.element_size()
    counters.trace_begin(ctypes.c_uint64(unit))
    for tensor in (logits, space):
        size = tensor.numel() * tensor.element_size()
        counters.trace_range(ctypes.c_void_p(tensor.data_ptr()), ctypes.c_uint64(size))
    job.run_cuda(logits, space)
    moved = (ctypes.c_uint64 * 4)()
    units = (ctypes.c_uint64 * (logits.numel() // BLOCK))()
    work = (ctypes.c_uint64 * 4)()
    counters.trace_end(moved, units, work)
    if int(status.abs().sum()):
        raise RuntimeError(f"{case}: a bad row")
    if 0 in units:
        raise RuntimeError(f"{case}: a block was never read, so something is not counted")
    again = sum(size > unit for size in units)
    return {
        **case,
        "reads_from_memory": 1 + again / len(units),
        "reads_issued": moved[0] / (len(units) * unit),
        "workspace_loaded": moved[2] / rows,
        "workspace_stored": moved[3] / rows,
        # Of the thread block that finishes a row, from its arrival on.
        "barriers": work[0],
        "shuffles": work[1],
        "waits": work[2],
        "finish_loaded": work[3],
    }


def over_budget(entry: dict[str, Any]) -> bool:
    most = MOST_READS.get(entry["distribution"], MOST_READS[""])
    return bool(entry["reads_from_memory"] > most)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--package", type=Path, default=ROOT / "build" / "cuda" / "package")
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument("--check", action="store_true", help="only compare with the budget")
    parser.add_argument("--counted", action="store_true", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.counted:
        json.dump([count(case) for case in json.load(sys.stdin)], sys.stdout)
        return
    library = next((chosen.package / "onedraw").glob("_core*.so"), None)
    if library is None:
        sys.exit(f"no extension in {chosen.package}: .ci/cuda_on_cpu builds one")
    variables = counting(library, ROOT / FOLDER)
    found = json.loads(run("benchmarks.gpu_reads", json.dumps(cases()), chosen.package, variables))
    if not chosen.check:
        chosen.out.write_text("[\n" + ",\n".join(json.dumps(entry) for entry in found) + "\n]\n")
    for entry in found:
        print(
            f"{entry['distribution']} V={entry['vocab']} {entry['dtype']} {entry['filters']}: "
            f"{entry['reads_from_memory']:.3f} reads from memory, {entry['reads_issued']:.2f} issued, "
            f"workspace {entry['workspace_stored']:.0f} bytes written, {entry['workspace_loaded']:.0f} read"
        )

    if chosen.check and any(map(over_budget, found)):
        sys.exit(f"more reads from memory than the budget has: {MOST_READS}")


if __name__ == "__main__":
    main()
