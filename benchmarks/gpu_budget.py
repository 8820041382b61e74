"""What can be said of the CUDA kernels' speed without a GPU: GPU_BUDGET.md, and --json.

    python -m benchmarks.gpu_budget [--json FILE] [--out FILE] [--folder build/budget]

Compiles the kernels with nvcc for four architectures (two minutes on two cores; seconds if nothing has changed
since), reads their machine code, and estimates times from datasheets and from the accesses that
`python -m benchmarks.gpu_reads` counted.
"""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.budget.estimate import Counted, Estimate, MassLoop, estimate, mass_loops_of
from benchmarks.budget.listing import ROOT, Kernel, NoToolError, kernels, launches, output, tool
from benchmarks.budget.occupancy import blocks_per_multiprocessor, occupancy
from benchmarks.budget.write import report

HERE = Path(__file__).parent
ARCHITECTURES = ("80", "90", "100", "120")
BATCHES = (1, 8, 64, 256)
VOCABULARIES = (32_000, 128_256, 262_144)
DTYPES = ("float32", "bfloat16")
Record = dict[str, Any]


def load(name: str) -> Any:
    return json.loads((HERE / "budget" / name).read_text())


def dtype_of(name: str) -> str:
    """The type of logits that a kernel reads, from its name."""
    return next((dtype for dtype in ("float32", "float16", "bfloat16") if f"<{dtype}" in name), "")


def kernel_record(kernel: Kernel, limits: Mapping[str, Any]) -> Record:
    return {
        "kernel": kernel.name,
        "architecture": kernel.architecture,
        "dtype": dtype_of(kernel.name),
        "threads": kernel.threads,
        **asdict(kernel.statics),
        "blocks_per_multiprocessor": blocks_per_multiprocessor(kernel.resources, limits),
        "occupancy": occupancy(kernel.resources, limits),
        "mass_loops": [loop_record(loop) for loop in mass_loops_of(kernel)],
    }


def loop_record(loop: MassLoop) -> Record:
    return {
        "instructions": loop.instructions,
        "logits": loop.logits,
        "per_logit": loop.per_logit(),
        "classes": {name: loop.per_logit(name) for name in sorted(loop.classes)},
        "widest_load": loop.widest_load,
        "loaded_a_logit": loop.loaded,
        "stored_a_block": loop.stored,
    }


def hot(found: Sequence[Kernel], architecture: str, dtype: str) -> tuple[Kernel, MassLoop] | None:
    """The kernel of these logits that draws tokens alone, which has the fewest registers, and its leanest loop."""
    choices = [
        (kernel, loop)
        for kernel in found
        if kernel.architecture == architecture and dtype_of(kernel.name) == dtype
        for loop in mass_loops_of(kernel)
    ]
    return min(
        choices,
        key=lambda choice: (choice[0].statics.registers, choice[1].per_logit()),
        default=None,
    )


def counted_for(reads: Sequence[Record], filters: str, dtype: str, vocab: int) -> Counted:
    """What was counted for LM-like rows of the nearest size."""
    fitting = [
        entry
        for entry in reads
        if (entry["filters"], entry["dtype"], entry["distribution"]) == (filters, dtype, "lm")
    ]
    return Counted.of(min(fitting, key=lambda entry: abs(entry["vocab"] - vocab)))


def estimates(found: Sequence[Kernel], reads: Sequence[Record], devices: Record) -> list[Record]:
    rows = []
    for key, device in devices["devices"].items():
        architecture = device["architecture"]
        for dtype in DTYPES:
            chosen = hot(found, architecture, dtype)
            if chosen is None:
                continue
            for filters in dict.fromkeys(entry["filters"] for entry in reads):
                for vocab in VOCABULARIES:
                    for batch in BATCHES:
                        result: Estimate = estimate(
                            chosen[1],
                            chosen[0],
                            device,
                            devices["architectures"][architecture],
                            devices["assumptions"],
                            counted_for(reads, filters, dtype, vocab),
                            batch,
                            vocab,
                            dtype,
                        )
                        rows.append(
                            {
                                "device": key,
                                "dtype": dtype,
                                "filters": filters,
                                "vocab": vocab,
                                "batch": batch,
                                **asdict(result),
                                "scan": result.scan,
                                "total": result.total,
                                "over": result.over,
                            }
                        )
    return rows


def collect(folder: Path) -> Record:
    devices, reads = load("devices.json"), load("reads.json")
    found = kernels(folder, ARCHITECTURES)
    compiler = output([tool("nvcc"), "--version"]).strip().splitlines()[-2]
    return {
        "compiler": compiler,
        "kernels": [
            kernel_record(kernel, devices["architectures"][kernel.architecture]) for kernel in found
        ],
        "launches": launches(),
        "reads": reads,
        "devices": devices,
        "estimates": estimates(found, reads, devices),
        "published": load("published.json"),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--out", type=Path, default=HERE / "GPU_BUDGET.md")
    parser.add_argument("--json", type=Path, help="everything, for a program")
    parser.add_argument("--folder", type=Path, default=ROOT / "build" / "budget")
    chosen = parser.parse_args()
    try:
        found = collect(chosen.folder)
    except NoToolError as error:
        sys.exit(str(error))
    chosen.out.write_text(report(found))
    if chosen.json:
        chosen.json.write_text(json.dumps(found, indent=1) + "\n")
    print(chosen.out)


if __name__ == "__main__":
    main()
