"""Builds what `benchmarks.gpu_reads` counts with: the kernels, translated by cuda-on-cpu, with counters."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from benchmarks.budget.listing import ROOT, output, tool

RUNNER = ROOT.parent / "shared" / "cuda-on-cpu"
WRAPPED = (
    "_ZN4simt11cta_barrierEjjNS_5BarOpEibPKv",
    "_ZN4simt7warp_opENS_4KindEjmjjPKv",
    "_ZN4simt11atomic_hookEv",
)
CHECKS = (
    "-fsanitize=kernel-address",
    "--param=asan-instrumentation-with-call-threshold=0",
    "--param=asan-stack=0",
    "--param=asan-globals=0",
)


def environment(library: Path) -> dict[str, str]:
    """What cuda-on-cpu sets for a command; its own translation and stand-in of the runtime are made on the way."""
    names = ("PTX_LIBS", "LD_LIBRARY_PATH")
    script = f"import json, os; print(json.dumps({{n: os.environ[n] for n in {names}}}))"
    command = [str(RUNNER / "run"), str(library), sys.executable, "-c", script]
    cuobjdump = tool("cuobjdump", "nvidia-cuda-cuobjdump")
    lines = output(command, **{**os.environ, "CUOBJDUMP": cuobjdump}).splitlines()
    found: dict[str, str] = json.loads(next(line for line in lines if line.startswith("{")))
    return found


def counting(library: Path, folder: Path) -> dict[str, str]:
    """The environment in which the kernels of this extension are executed with counters; COUNTERS is the library."""
    plain = environment(library)
    nvcc = output([tool("nvcc"), "--dryrun", "-x", "cu", "-c", os.devnull])
    top = next(line.split("TOP=")[1] for line in nvcc.splitlines() if "TOP=" in line)
    runtime = Path(plain["LD_LIBRARY_PATH"].split(":")[0])
    folder.mkdir(parents=True, exist_ok=True)
    flags = ["-std=c++17", "-w", "-fPIC", "-ffp-contract=off", "-fno-strict-aliasing"]
    flags += [f"-I{top.strip()}/include", f"-I{RUNNER}"]
    objects = []
    for number, translated in enumerate(plain["PTX_LIBS"].split(":")):
        target = folder / f"kernel{number}.o"
        source = str(Path(translated).with_suffix(".cpp"))
        output(["g++", *flags, "-O1", *CHECKS, "-c", source, "-o", str(target)])
        objects.append(str(target))
    counters = folder / "counters.o"
    source = str(Path(__file__).with_name("trace.cpp"))
    output(["g++", *flags, "-O2", "-c", source, "-o", str(counters)])
    shared = folder / "counted.so"
    stand_in = next(
        file.name for file in runtime.glob("libcudart.so.*") if file.suffix[1:].isdigit()
    )
    links = [*(f"-Wl,--wrap={name}" for name in WRAPPED), f"-L{runtime}", f"-l:{stand_in}"]
    output(["g++", "-shared", "-o", str(shared), *objects, str(counters), *links])
    return {
        "PTX_LIBS": str(shared),
        "LD_LIBRARY_PATH": plain["LD_LIBRARY_PATH"],
        "CUDA_ON_CPU": "1",
        "COUNTERS": str(shared),
    }


def run(module: str, text: str, package: Path, variables: Mapping[str, str]) -> str:
    """Standard output of a module of ours that imports the package from `package`, given `text`."""
    done = subprocess.run(
        [sys.executable, "-m", module, "--counted"],
        input=text,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        cwd=ROOT,
        env={**os.environ, **variables, "PYTHONPATH": str(package)},
    )
    return done.stdout
