"""The machine and the versions that a record was made with."""

import importlib.metadata
import os
import platform
import subprocess
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import torch

from benchmarks import TORCH_CAME_FIRST
from onedraw import _core

VARIABLES = ("OMP_NUM_THREADS", "OMP_WAIT_POLICY", "OMP_PROC_BIND", "ONEDRAW_KERNEL")
PACKAGES = ("onedraw", "torch", "transformers", "numpy", "triton", "flashinfer-python", "vllm")
FLAGS = ("avx2", "fma", "f16c", "avx512f", "avx512vl", "avx512dq", "avx512_bf16")
USUAL_CACHE = 32 << 20


def last_level_cache() -> int:
    """Bytes of the largest cache the first core sees; `USUAL_CACHE` where Linux does not say."""
    sizes = [USUAL_CACHE // 1024]
    for file in Path("/sys/devices/system/cpu/cpu0/cache").glob("index*/size"):
        text = file.read_text().strip()
        if text.endswith("K"):
            sizes.append(int(text[:-1]))
    return max(sizes) * 1024


def cpu() -> dict[str, Any]:
    """The model's name and the instruction sets that matter here."""
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return {"model": platform.processor(), "flags": []}
    lines = dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
    fields = {name.strip(): value.strip() for name, value in lines.items()}
    present = fields.get("flags", "").split()
    return {
        "model": fields.get("model name", platform.processor()),
        "flags": [flag for flag in FLAGS if flag in present],
    }


def version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def commit() -> str | None:
    """The commit of the working tree; a trailing + says that files differ from it."""
    git = ["git", "-C", str(Path(__file__).parent)]
    try:
        name = subprocess.run(
            [*git, "rev-parse", "--short=12", "HEAD"], capture_output=True, text=True, check=True
        ).stdout.strip()
        dirty = subprocess.run(
            [*git, "status", "--porcelain"], capture_output=True, text=True, check=True
        ).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None
    return name + ("+" if dirty else "")


def gpu() -> dict[str, Any] | None:
    """The CUDA device that torch would use."""
    if not torch.cuda.is_available():
        return None
    found = torch.cuda.get_device_properties(torch.cuda.current_device())
    return {
        "name": found.name,
        "capability": f"{found.major}.{found.minor}",
        "multiprocessors": found.multi_processor_count,
        "cache_bytes": found.L2_cache_size,
        "memory_bytes": found.total_memory,
        "cuda": torch.version.cuda,
    }


def describe() -> dict[str, Any]:
    """Everything a later reader needs to judge a number, as JSON values."""
    return {
        "time": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "commit": commit(),
        "cpu": cpu(),
        "gpu": gpu(),
        "cores": os.cpu_count(),
        "last_level_cache": last_level_cache(),
        "load": round(os.getloadavg()[0], 2),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "versions": {package: version(package) for package in PACKAGES},
        "torch_cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "openmp_set_before_torch": not TORCH_CAME_FIRST,
        "variables": {name: os.environ.get(name) for name in VARIABLES},
        "spec_version": _core.SPEC_VERSION,
        "build": _core.build_info(),
    }
