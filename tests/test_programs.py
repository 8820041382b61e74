"""The checking programs of csrc/tests, built and run; what the objects of each kernel hold.

The quick ones need half a minute to compile. Under the sanitizers, and for longer: the slow ones.
"""

import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
ARM = "aarch64-linux-gnu-g++"
X86 = platform.machine() in ("x86_64", "AMD64")
SCRIPTS = str(Path(sys.executable).parent)  # where pip puts CMake and ninja


def tool(name: str) -> str | None:
    return shutil.which(name, path=SCRIPTS) or shutil.which(name)


pytestmark = pytest.mark.skipif(
    not (ROOT / "csrc/tests/CMakeLists.txt").exists() or not tool("cmake") or not tool("ninja"),
    reason="needs the sources, CMake and ninja",
)


def run(*command: str | Path, limit: float = 540) -> str:
    """What the command prints to standard output; an assertion with all of it where it fails."""
    done = subprocess.run(
        [str(word) for word in command],
        capture_output=True,
        text=True,
        timeout=limit,
        env={**os.environ, "OMP_NUM_THREADS": "2", "OMP_WAIT_POLICY": "passive"},
    )
    assert done.returncode == 0, f"{command}\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
    return done.stdout


def build(folder: str, targets: Sequence[str], *options: str) -> Path:
    """Bring the programs up to date; the folder they are in."""
    where = ROOT / "build" / folder
    cmake, ninja = tool("cmake"), tool("ninja")
    assert cmake
    assert ninja
    generator = ("-G", "Ninja", f"-DCMAKE_MAKE_PROGRAM={ninja}")
    fixed = ("-DONEDRAW_PROGRAMS=ON", "-DSKBUILD_PROJECT_VERSION=0")
    run(cmake, "-S", ROOT, "-B", where, *generator, *fixed, *options)
    run(cmake, "--build", where, "--target", *targets)
    return where / "csrc/tests"


@pytest.fixture(scope="module")
def programs() -> Path:
    return build("programs", ["onedraw_check", "onedraw_exhaustive"])


@pytest.fixture(scope="module")
def sanitized() -> Path:
    return build("check", ["onedraw_check", "onedraw_fuzz"], "-DONEDRAW_SANITIZE=ON")


def test_random_jobs(programs: Path) -> None:
    out = run(programs / "onedraw_check", "--cases", "1500", "--seconds", "60")
    assert "all kernels equal" in out
    assert "scalar" in out
    assert "wide" in out


def test_facts_of_the_specification_quickly(programs: Path) -> None:
    assert "as the specification says" in run(programs / "onedraw_exhaustive", "--quick")


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_facts_of_the_specification(programs: Path) -> None:
    assert "as the specification says" in run(programs / "onedraw_exhaustive", limit=1100)


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_random_jobs_under_the_sanitizers(sanitized: Path) -> None:
    out = run(sanitized / "onedraw_check", "--cases", "6000", "--seconds", "90", "--seed", "2")
    assert "all kernels equal" in out


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_fuzzed_jobs_under_the_sanitizers(
    sanitized: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # an input that fails is left there
    assert "all kernels equal" in run(sanitized / "onedraw_fuzz", "--seconds", "30")


def digest(*command: str | Path) -> tuple[str, str]:
    """The kernels that ran some random jobs, all equal, and the digest of their answers."""
    out = run(*command, "--cases", "250", "--max-vocab", "2000")
    found = re.fullmatch(
        r"kernels: (.*)\n\d+ cases, all kernels equal; digest of the answers: (\w+)\n", out
    )
    assert found, out
    return found[1], found[2]


# An emulator shows what a processor without AVX2, and without AVX-512, chooses and answers.
@pytest.mark.skipif(not X86 or not shutil.which("qemu-x86_64"), reason="needs qemu-user on x86-64")
@pytest.mark.parametrize(
    ("processor", "kernels"),
    [
        ("Nehalem", "reference scalar wide; not on this processor: avx2 avx512"),
        ("Haswell", "reference scalar avx2 wide; not on this processor: avx512"),
    ],
)
def test_other_processors(programs: Path, processor: str, kernels: str) -> None:
    check = programs / "onedraw_check"
    assert digest("qemu-x86_64", "-cpu", processor, check) == (kernels, digest(check)[1])


@pytest.mark.slow
@pytest.mark.skipif(
    not X86 or not shutil.which("qemu-aarch64") or not shutil.which(ARM),
    reason=f"needs qemu-user and {ARM}",
)
def test_another_architecture(programs: Path) -> None:
    system = ("-DCMAKE_SYSTEM_NAME=Linux", "-DCMAKE_SYSTEM_PROCESSOR=aarch64")
    there = build("programs-arm", ["onedraw_check"], *system, f"-DCMAKE_CXX_COMPILER={ARM}")
    root = "/usr/aarch64-linux-gnu"
    command = ("qemu-aarch64", "-L", root, there / "onedraw_check")
    assert digest(*command) == ("reference scalar wide", digest(programs / "onedraw_check")[1])


def clang() -> str | None:
    """A Clang that finds OpenMP's header, of whatever version."""
    names = ("clang++", *(f"clang++-{version}" for version in range(30, 10, -1)))
    for name in filter(shutil.which, names):
        command = [name, "-fopenmp", "-fsyntax-only", "-x", "c++", "-"]
        done = subprocess.run(command, input=b"#include <omp.h>", capture_output=True)
        if done.returncode == 0:
            return name
    return None


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.skipif(not clang(), reason="needs Clang with OpenMP")
def test_another_compiler(programs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options = ("-DONEDRAW_SANITIZE=ON", f"-DCMAKE_CXX_COMPILER={clang()}")
    there = build("programs-clang", ["onedraw_check", "onedraw_fuzz"], *options)
    assert digest(there / "onedraw_check") == digest(programs / "onedraw_check")
    monkeypatch.chdir(tmp_path)  # libFuzzer leaves an input that fails there
    run(there / "onedraw_fuzz", "-max_total_time=60", "-print_final_stats=1")


def objects(programs: Path, library: str) -> list[Path]:
    """The objects that are compiled as the library's own are."""
    found = sorted((programs / f"CMakeFiles/{library}.dir").glob("**/cpu/*.o"))
    assert found
    return found


def instructions(path: Path) -> set[str]:
    text = run("objdump", "-d", "--no-show-raw-insn", path)
    found = set(re.findall(r"^\s+[0-9a-f]+:\s+(\w+)", text, re.MULTILINE))
    assert "ret" in found
    return found


needs_binutils = pytest.mark.skipif(
    not X86 or not shutil.which("objdump") or not shutil.which("nm"),
    reason="needs binutils, x86-64",
)


@needs_binutils
@pytest.mark.parametrize("library", ["onedraw_checked", "onedraw_checked_scalar"])
def test_the_baseline_is_the_baseline(programs: Path, library: str) -> None:
    """No AVX, no fused multiply-add: every instruction of theirs begins with a v."""
    for path in objects(programs, library):
        beyond = {i for i in instructions(path) if i.startswith("v") and i not in ("verr", "verw")}
        assert not beyond, path


@needs_binutils
@pytest.mark.parametrize("target", ["avx2", "avx512"])
def test_a_kernel_uses_its_instructions(programs: Path, target: str) -> None:
    (path,) = objects(programs, f"onedraw_checked_{target}")
    assert any(i.startswith("vfmadd") and i.endswith("ps") for i in instructions(path))
    assert ("%zmm" in run("objdump", "-d", path)) == (target == "avx512")


@needs_binutils
@pytest.mark.parametrize("target", ["scalar", "avx2", "avx512"])
def test_a_kernel_shares_nothing(programs: Path, target: str) -> None:
    """One symbol, its table: a function that several objects define is kept once, from any of them."""
    (path,) = objects(programs, f"onedraw_checked_{target}")
    names = [line.split()[-1] for line in run("nm", "-g", "--defined-only", path).splitlines()]
    assert len(names) == 1, names
    assert f"kKernel_{target}" in names[0]
