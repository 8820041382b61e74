"""Whether the CUDA kernels are built, and by which nvcc: cmake/FindNvcc.cmake, run with nvccs that pretend."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parent.parent / "cmake/FindNvcc.cmake"
CMAKE = shutil.which("cmake", path=str(Path(sys.executable).parent)) or shutil.which("cmake")

pytestmark = pytest.mark.skipif(
    not SCRIPT.exists() or CMAKE is None, reason="needs the sources and CMake"
)

OURS = ("CUDACXX", "CUDA_HOME", "CUDA_PATH", "CUDAHOSTCXX", "CUDAFLAGS", "ONEDRAW_NVCC")

NVCC = """#!/bin/sh
case "$1" in
--version) echo "Cuda compilation tools, release {version}, V{version}.88" ;;
--list-gpu-arch) printf 'compute_%s\\n' 80 90 100 ;;
*) {compiles} ;;
esac
"""


def nvcc(folder: Path, version: str = "13.0", compiles: str = "exit 0") -> Path:
    """Write an nvcc for the architectures 80, 90 and 100 into `folder`/bin."""
    path = folder / "bin/nvcc"
    path.parent.mkdir(parents=True)
    path.write_text(NVCC.format(version=version, compiles=compiles))
    path.chmod(0o755)
    return path


class Finder:
    """FindNvcc.cmake in an empty folder; `nowhere` is where a toolkit usually is."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.usual = folder / "usual"

    def run(self, cuda="AUTO", architectures="80-real;90", path=(), define=(), **environment):
        given = {name: value for name, value in os.environ.items() if name not in OURS}
        folders = [*path, "/usr/bin", "/bin"]
        folders = [str(f) for f in folders if Path(f) in path or not (Path(f) / "nvcc").exists()]
        given |= {"PATH": os.pathsep.join(folders)}
        options = {
            "ONEDRAW_CUDA": cuda,
            "ONEDRAW_CUDA_ARCHITECTURES": architectures,
            "ONEDRAW_CUDA_FOLDERS": f"{self.usual}",
            "Python_EXECUTABLE": sys.executable,
        } | dict(define)
        return subprocess.run(
            [CMAKE, *(f"-D{name}={value}" for name, value in options.items()), "-P", SCRIPT],
            capture_output=True,
            text=True,
            cwd=self.folder,
            env=given | {name: str(value) for name, value in environment.items()},
        )

    def state(self, *arguments, **options) -> str:
        """Return what a build that goes on says of the kernels."""
        done = self.run(*arguments, **options)
        assert done.returncode == 0, done.stderr
        return done.stdout.replace("-- CUDA kernels: ", "")

    def error(self, *arguments, **options) -> str:
        """Return what a build that stops says, in one line."""
        done = self.run(*arguments, **options)
        assert done.returncode != 0, done.stdout
        return " ".join(done.stderr.split())


@pytest.fixture
def find(tmp_path) -> Finder:
    return Finder(tmp_path)


@pytest.mark.parametrize("cuda", ["OFF", "off", "0", "FALSE"])
def test_off(find, cuda):
    nvcc(find.usual)
    assert find.state(cuda) == "not in this build: ONEDRAW_CUDA is OFF\n"


@pytest.mark.parametrize("cuda", ["on", "1", "TRUE"])
def test_on(find, cuda):
    assert "no nvcc was found" in find.error(cuda)
    nvcc(find.usual)
    assert find.state(cuda).startswith("in this build\n")


@pytest.mark.parametrize("cuda", ["", "MAYBE", "12.0"])
def test_another_word_is_refused(find, cuda):
    assert f"ONEDRAW_CUDA must be ON, OFF or AUTO, got '{cuda}'" in find.error(cuda)


def test_auto_without_nvcc_says_where_it_looked(find):
    places = f"CUDACXX, CUDA_HOME, CUDA_PATH, PATH, {find.usual}"
    assert find.state() == f"not in this build: no nvcc was found ({places})\n"


def test_on_without_nvcc_says_what_to_set(find):
    error = find.error("ON")
    assert "no nvcc was found" in error
    for word in ("CUDACXX", "CUDA_HOME", "ONEDRAW_NVCC=pypi", "ONEDRAW_CUDA to OFF"):
        assert word in error


@pytest.mark.parametrize("cuda", ["AUTO", "ON"])
@pytest.mark.parametrize("place", ["CUDACXX", "CUDA_HOME", "CUDA_PATH", "PATH", "usual"])
def test_every_place(find, cuda, place):
    folder = find.usual if place == "usual" else find.folder / "toolkit"
    path = nvcc(folder)
    options = {
        "CUDACXX": {"CUDACXX": path},
        "CUDA_HOME": {"CUDA_HOME": folder},
        "CUDA_PATH": {"CUDA_PATH": folder},
        "PATH": {"path": [folder / "bin"]},
        "usual": {},
    }[place]
    state = find.state(cuda, **options)
    assert state.startswith("in this build\n")
    assert f"by nvcc 13.0.88 ({path}) for 80-real, 90\n" in state


def test_the_order_of_the_places(find):
    places = ["CUDACXX", "CUDA_HOME", "CUDA_PATH", "PATH"]
    paths = {place: nvcc(find.folder / place) for place in places}
    usual = nvcc(find.usual)
    options = {
        "CUDACXX": paths["CUDACXX"],
        "CUDA_HOME": find.folder / "CUDA_HOME",
        "CUDA_PATH": find.folder / "CUDA_PATH",
        "path": [find.folder / "PATH/bin"],
    }
    for place in places:
        assert f"({paths[place]})" in find.state(**options)
        del options["path" if place == "PATH" else place]
    assert f"({usual})" in find.state(**options)


@pytest.mark.parametrize("name", ["CUDACXX", "CMAKE_CUDA_COMPILER"])
def test_one_that_is_named_and_missing_is_not_replaced(find, name):
    nvcc(find.usual)
    missing = find.folder / "gone/nvcc"
    options = {name: missing} if name == "CUDACXX" else {"define": [(name, missing)]}
    reason = f"{name} is '{missing}', which is no program"
    assert find.state(**options) == f"not in this build: {reason}\n"
    assert reason in find.error("ON", **options)


def test_one_that_is_too_old(find):
    path = nvcc(find.usual, version="11.8")
    reason = f"{path} is of version 11.8.88, the oldest that will do is 12.0"
    assert find.state() == f"not in this build: {reason}\n"
    assert "the oldest that will do is 12.0" in find.error("ON")


FAILS = (
    r"""printf 'In file a.h\nhost.h:9:2: error: #error "gcc; $later" \\ no\nmore\n' >&2; exit 3"""
)


def test_one_that_does_not_compile(find):
    path = nvcc(find.usual, compiles=FAILS)
    reason = "host.h:9:2: error: #error 'gcc' 'later' ' no"  # nothing that would end a C string
    expected = f"{path} 13.0.88 does not compile cmake/probe.cu (3): {reason}"
    assert find.state() == f"not in this build: {expected}\n"
    assert "host.h:9:2: error" in find.error("ON")


def test_one_that_is_no_nvcc(find):
    path = shutil.which("true")
    assert "does not tell its version as nvcc does" in find.state(CUDACXX=path)


def test_the_next_is_taken_where_one_does_not_work(find):
    old = nvcc(find.folder / "old", version="11.8")
    broken = nvcc(find.folder / "broken", compiles="exit 1")
    options = {"CUDA_HOME": find.folder / "broken", "path": [old.parent]}
    state = find.state(**options)
    assert str(old) in state
    assert str(broken) in state
    works = nvcc(find.usual)
    state = find.state("ON", **options)
    assert state.startswith("in this build\n")
    assert f"({works})" in state


def test_unknown_architectures_are_left_out(find):
    nvcc(find.usual)
    state = find.state(architectures="75-real;80-real;90a;100-virtual;130;140")
    assert "for 80-real, 90a, 100-virtual\n" in state
    assert "not for 75-real, 130, 140, which this nvcc does not know\n" in state


def test_no_known_architecture(find):
    nvcc(find.usual)
    reason = "knows none of ONEDRAW_CUDA_ARCHITECTURES (75-real, 9)"
    assert reason in find.state(architectures="75-real;9")
    assert reason in find.error("ON", architectures="75-real;9")


@pytest.mark.parametrize("runtime", ["Static", "Shared"])
def test_what_the_probe_is_compiled_with(find, runtime):
    nvcc(find.usual, compiles=f'echo "$@" > {find.folder}/arguments')
    find.state(
        define=[("CMAKE_CUDA_RUNTIME_LIBRARY", runtime)], CUDAHOSTCXX="g++-12", CUDAFLAGS="-x -y"
    )
    arguments = (find.folder / "arguments").read_text()
    for words in ("-x -y", "-ccbin g++-12", "arch=compute_80,code=sm_80", "-std=c++17"):
        assert words in arguments
    assert ("-cudart shared" in arguments) == (runtime == "Shared")


def test_from_pypi(find):
    """The nvcc in the build's own Python, and no other."""
    usual = nvcc(find.usual)
    site = find.folder / "site"
    path = nvcc(site / "nvidia/cu13")
    options = {"PYTHONPATH": site, "CUDACXX": usual}
    assert f"({path})" in find.state("ON", ONEDRAW_NVCC="pypi", **options)
    assert f"({usual})" in find.state("ON", ONEDRAW_NVCC="", **options)


def test_from_pypi_where_it_is_not(find):
    usual = nvcc(find.usual)
    options = {"ONEDRAW_NVCC": "pypi", "CUDACXX": usual, "define": [("Python_EXECUTABLE", "false")]}
    assert "this build's Python has no nvidia-cuda-nvcc" in find.error("ON", **options)


def test_from_elsewhere_is_refused(find):
    assert "ONEDRAW_NVCC must be pypi, or not set, got 'conda'" in find.error(ONEDRAW_NVCC="conda")


@pytest.mark.parametrize("given", ["80,90", "9.0", "sm_90", "80;hopper"])
def test_architectures_that_are_no_architectures(find, given):
    nvcc(find.usual)
    for cuda in ("AUTO", "ON"):
        said = " ".join(find.error(cuda, architectures=given).split())
        assert "ONEDRAW_CUDA_ARCHITECTURES must be numbers with semicolons between" in said
        assert f"got '{given.split(';')[-1]}'" in said


def test_native_without_a_gpu(find):
    if any(Path(name).exists() for name in ("/dev/nvidia0", "/dev/nvidiactl", "/dev/dxg")):
        pytest.skip("there is a GPU")
    nvcc(find.usual)
    reason = "ONEDRAW_CUDA_ARCHITECTURES is native, and there is no GPU here"
    assert find.state(architectures="native") == f"not in this build: {reason}\n"
