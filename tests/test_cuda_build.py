"""The extension as an nvcc and AUTO make it: with the CUDA runtime in it, and no driver needed to import it."""

import ctypes
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pybind11
import pytest

ROOT = Path(__file__).resolve().parent.parent
SCRIPTS = str(Path(sys.executable).parent)
CMAKE, NINJA = (
    shutil.which(name, path=SCRIPTS) or shutil.which(name) for name in ("cmake", "ninja")
)
PLACES = ("CUDA_HOME", "CUDA_PATH")
NVCC = os.environ.get("CUDACXX") or shutil.which(
    "nvcc",
    path=os.pathsep.join(
        [f"{os.environ.get(place)}/bin" for place in PLACES]
        + [os.environ.get("PATH", ""), "/usr/local/cuda/bin", "/opt/cuda/bin"]
    ),
)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(1200),  # the first test builds
    pytest.mark.skipif(not (ROOT / "CMakeLists.txt").exists(), reason="needs the sources"),
    pytest.mark.skipif(not NVCC, reason="needs an nvcc"),
    pytest.mark.skipif(not CMAKE or not NINJA, reason="needs CMake and ninja"),
]


def run(*words, **environment) -> str:
    done = subprocess.run(
        [str(word) for word in words],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "2", **environment},
    )
    assert done.returncode == 0, f"{words}\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
    return done.stdout


@pytest.fixture(scope="module")
def package() -> Path:
    """A folder with the package and an extension built for one architecture, all else being the defaults."""
    where = ROOT / "build/auto"
    options = {
        "CMAKE_MAKE_PROGRAM": NINJA,
        "SKBUILD": "2",
        "SKBUILD_PROJECT_VERSION": "0",
        "pybind11_DIR": pybind11.get_cmake_dir(),
        "Python_EXECUTABLE": sys.executable,
        "ONEDRAW_CUDA_ARCHITECTURES": "90",
    }
    defines = [f"-D{name}={value}" for name, value in options.items()]
    log = run(CMAKE, "-S", ROOT, "-B", where, "-G", "Ninja", *defines)
    assert "CUDA kernels: in this build" in log
    run(CMAKE, "--build", where)
    folder = where / "package"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(
        ROOT / "python/onedraw", folder / "onedraw", ignore=shutil.ignore_patterns("_core*.so")
    )
    (extension,) = where.glob("_core*.so")
    shutil.copy(extension, folder / "onedraw")
    return folder


@pytest.fixture(scope="module")
def extension(package) -> Path:
    return next((package / "onedraw").glob("_core*.so"))


def ask(extension: Path, code: str, **environment) -> str:
    """What `code` prints in a process that has loaded the extension, as `core`, and nothing else."""
    load = f"import sys; sys.path.insert(0, {str(extension.parent)!r}); import _core as core\n"
    return run(sys.executable, "-c", load + code, **environment).strip()


def count(extension: Path, **environment) -> str:
    """What the first CUDA call says."""
    code = "try: print(core.cuda_device_count())\nexcept RuntimeError as error: print(error)"
    return ask(extension, code, **environment)


@pytest.fixture(scope="module")
def driver(extension, tmp_path_factory) -> dict[str, str]:
    """An environment with a driver for the CUDA of this build that sees no GPU."""
    folder = tmp_path_factory.mktemp("driver")
    source = ROOT / "tests/fake_driver.c"
    run("g++", "-x", "c", "-shared", "-fPIC", "-o", folder / "libcuda.so.1", source, "-ldl")
    newest = 1000 * major_of(extension) + 990
    return {"LD_LIBRARY_PATH": str(folder), "FAKE_CUDA": str(newest), "FAKE_GPUS": ""}


def major_of(extension: Path) -> int:
    return int(ask(extension, "print(core.build_info()['cuda_runtime'])").split(".")[0])


def no_driver() -> bool:
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        return True
    return False


def test_the_kernels_are_in_it(extension):
    told = json.loads(ask(extension, "import json; print(json.dumps(core.build_info()))"))
    assert told["cuda"] == "in this build"
    assert told["cuda_architectures"] == ["90"]
    assert told["cuda_ptx"] == ["90"]
    assert told["cuda_runtime"].endswith(" static")
    sections = run("readelf", "-S", "-W", extension)
    assert ".nv_fatbin" in sections


def test_it_needs_no_library_of_cuda(extension):
    needed = run("readelf", "-d", "-W", extension)
    assert "libgomp" in needed
    assert "cuda" not in needed


@pytest.mark.skipif(not no_driver(), reason="this machine has a driver")
def test_without_a_driver(package, extension):
    """The package is imported and draws on the CPU; a CUDA call, and the report, say what is missing."""
    missing = "there is no NVIDIA driver (libcuda.so.1): install one, or start the container"
    assert count(extension).startswith(missing)
    draw = "import torch, onedraw; print(onedraw.sample(torch.eye(3), temperature=0).tolist())"
    assert run(sys.executable, "-c", draw, PYTHONPATH=str(package)).strip() == "[0, 1, 2]"
    report = run(sys.executable, "-m", "onedraw.info", "--json", PYTHONPATH=str(package))
    cuda = json.loads(report)["cuda"]
    assert cuda["kernels"] == "in this build"
    assert cuda["usable"].startswith(missing)
    assert cuda["driver"]["error"].startswith("none: ")
    assert cuda["devices"] == []


def test_a_driver_that_is_too_old(extension, driver):
    major = major_of(extension)
    said = count(extension, **driver | {"FAKE_CUDA": str(1000 * (major - 1) + 40)})
    assert said.startswith(f"the NVIDIA driver is one for CUDA {major - 1}.4, and this build")
    assert f"install a driver for CUDA {major}" in said
    assert f"an nvcc of CUDA {major - 1}" in said
    assert said.endswith("(cudaGetDeviceCount: cudaErrorInsufficientDriver)")


def test_a_driver_that_sees_no_device(extension, driver):
    said = count(extension, **driver)
    assert "cudaErrorNoDevice" in said
    assert "CUDA_VISIBLE_DEVICES" not in said
    said = count(extension, **driver, CUDA_VISIBLE_DEVICES="")
    assert "CUDA_VISIBLE_DEVICES is ''" in said
