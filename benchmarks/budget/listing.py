"""Compiles the CUDA kernels as the build does, and has the tools say what came of it."""

import hashlib
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.budget.occupancy import Resources
from benchmarks.budget.sass import Function, parse

ROOT = Path(__file__).resolve().parent.parent.parent
DTYPES = ("float32", "float16", "bfloat16")  # in the order of csrc/spec/job.h

ENTRY = re.compile(r"Compiling entry function '(\S+)' for 'sm_(\d+)\w?'")
STACK = re.compile(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads")
USED = re.compile(r"Used (\d+) registers(?:.*?(\d+) bytes smem)?")


class NoToolError(RuntimeError):
    """A tool that the report needs is missing; the message says which and where it comes from."""


@dataclass
class Statics:
    """What ptxas says of a kernel and of all that it calls: the largest stack, the spills together."""

    registers: int = 0
    shared: int = 0
    stack: int = 0
    spill_stores: int = 0
    spill_loads: int = 0


@dataclass
class Kernel:
    name: str
    architecture: str
    statics: Statics
    threads: int
    function: Function

    @property
    def resources(self) -> Resources:
        return Resources(self.statics.registers, self.statics.shared, self.threads)


def short_name(mangled: str) -> str:
    """`draw<float32>` of a mangled kernel; template arguments that are no types of logits, as numbers."""
    name, rest = mangled, mangled.removeprefix("_Z").removeprefix("N")
    while digits := re.match(r"\d+", rest):
        end = digits.end() + int(digits.group())
        name, rest = rest[digits.end() : end], rest[end:]
    arguments = [
        DTYPES[int(value)] if kind.startswith("N") else value
        for kind, value in re.findall(r"L(NS?\w*?DTypeE|[a-z])(\d+)E", rest)
    ]
    return f"{name}<{', '.join(arguments)}>" if arguments else name


def parse_statics(log: str) -> dict[tuple[str, str], Statics]:
    """ptxas's own report (`-Xptxas -v`), by kernel and architecture."""
    found: dict[tuple[str, str], Statics] = {}
    current = Statics()
    for line in log.splitlines():
        if entry := ENTRY.search(line):
            current = found.setdefault((entry.group(1), entry.group(2)), Statics())
        elif stack := STACK.search(line):
            frame, stores, loads = map(int, stack.groups())
            current.stack = max(current.stack, frame)
            current.spill_stores += stores
            current.spill_loads += loads
        elif used := USED.search(line):
            current.registers = int(used.group(1))
            current.shared = int(used.group(2) or 0)
    return found


def parse_threads(elf: str) -> dict[str, int]:
    """The threads of a block that each kernel is bound to, from `cuobjdump -elf`."""
    found: dict[str, int] = {}
    name = ""
    lines = iter(elf.splitlines())
    for line in lines:
        if line.startswith(".nv.info"):
            name = line.removeprefix(".nv.info").strip(".")
        elif "EIATTR_MAX_THREADS" in line:
            next(lines)
            x, y, z = (int(word, 16) for word in next(lines).split()[1:4])
            found[name] = x * y * z
    return found


def tool(name: str, package: str = "") -> str:
    """The path of a program: beside Python, from PATH, or from NVIDIA's packages in the environment."""
    beside = Path(sys.executable).parent / name
    packaged = sorted(Path(sys.prefix).glob(f"lib/python*/site-packages/nvidia/cu*/bin/{name}"))
    for place in (beside, shutil.which(name), *packaged):
        if place and Path(place).is_file():
            return str(place)
    hint = f": pip install {package}" if package else ""
    raise NoToolError(f"there is no {name}{hint}")


def output(command: Sequence[str], **environment: str) -> str:
    """What it wrote to standard output, then to standard error."""
    done = subprocess.run(command, capture_output=True, text=True, env=environment or None)
    if done.returncode:
        raise RuntimeError(f"{command[0]} failed:\n{done.stdout}{done.stderr}")
    return done.stdout + done.stderr


def fingerprint(architectures: Sequence[str]) -> str:
    """Of all that the objects are made from."""
    digest = hashlib.sha256(" ".join(architectures).encode())
    digest.update(output([tool("nvcc"), "--version"]).encode())
    folders = ("csrc/cuda", "csrc/spec", "cmake")
    files = [path for folder in folders for path in sorted((ROOT / folder).iterdir())]
    for path in (ROOT / "CMakeLists.txt", *files):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def compile_kernels(folder: Path, architectures: Sequence[str]) -> tuple[list[Path], str]:
    """The objects of CMake's target `onedraw_cuda`, its flags with them, and what ptxas said.

    What is in the folder is taken again if nothing has changed since.
    """
    log = folder / "ptxas.log"
    key = fingerprint(architectures)
    if not log.exists() or log.read_text().splitlines()[:1] != [key]:
        shutil.rmtree(folder, ignore_errors=True)
        log_text = build(folder, architectures)
        log.write_text(f"{key}\n{log_text}")
    objects = sorted(folder.rglob("*.o"))
    return [path for path in objects if "onedraw_cuda" in str(path)], log.read_text()


def build(folder: Path, architectures: Sequence[str]) -> str:
    cmake, ninja = tool("cmake", "cmake"), tool("ninja", "ninja")
    settings = {
        "CMAKE_MAKE_PROGRAM": ninja,
        "SKBUILD": "2",
        "SKBUILD_PROJECT_VERSION": "0",
        "Python_EXECUTABLE": sys.executable,
        "pybind11_DIR": output([sys.executable, "-m", "pybind11", "--cmakedir"]).strip(),
        "ONEDRAW_CUDA": "ON",
        "ONEDRAW_CUDA_ARCHITECTURES": ";".join(f"{name}-real" for name in architectures),
        "CMAKE_CUDA_FLAGS": "-Xptxas=-v",
    }
    definitions = [f"-D{name}={value}" for name, value in settings.items()]
    output([cmake, "-S", str(ROOT), "-B", str(folder), "-G", "Ninja", *definitions])
    return output([cmake, "--build", str(folder), "--target", "onedraw_cuda"])


def kernels(folder: Path, architectures: Sequence[str]) -> list[Kernel]:
    """Every kernel for every architecture."""
    cuobjdump = tool("cuobjdump", "nvidia-cuda-cuobjdump")
    path = str(Path(tool("nvdisasm", "nvidia-cuda-nvdisasm")).parent)
    objects, log = compile_kernels(folder, architectures)
    statics = parse_statics(log)
    found = []
    for architecture in architectures:
        for file in objects:
            command = [cuobjdump, "-arch", f"sm_{architecture}"]
            functions = parse(output([*command, "-sass", str(file)], PATH=path))
            threads = parse_threads(output([*command, "-elf", str(file)], PATH=path))
            for function in functions:
                found.append(
                    Kernel(
                        short_name(function.name),
                        architecture,
                        statics[function.name, architecture],
                        threads[function.name],
                        function,
                    )
                )
    return sorted(found, key=lambda kernel: (int(kernel.architecture), kernel.name))


def launches() -> int:
    """How many launches stand in the sources; each call of the package goes through one of them."""
    sources = [*ROOT.glob("csrc/cuda/*.cu"), *ROOT.glob("csrc/cuda/*.cuh")]
    pattern = re.compile(r"cudaLaunch\w*\(|<<<")
    return sum(len(pattern.findall(path.read_text())) for path in sources)
