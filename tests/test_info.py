"""The environment report: it must come out whatever is broken."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from onedraw import _core, info

SCRIPT = Path(info.__file__)
FAKE_DRIVER = Path(__file__).with_name("fake_driver.c")


def run(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *words],
        capture_output=True,
        text=True,
        env=dict(os.environ, **environment),
        timeout=180,
    )


@pytest.fixture(scope="module")
def report():
    return info.collect()


def test_says_what_the_core_says(report):
    assert report["kernels"]["compiled"] == [kernel["name"] for kernel in _core.kernels()]
    assert report["kernels"]["chosen"] in report["kernels"]["supported"]
    assert report["onedraw"]["specification"] == _core.SPEC_VERSION
    cuda = {name: _core.build_info()[name] for name in info.CUDA_FACTS}
    assert report["build"] | cuda == _core.build_info()
    assert report["cuda"]["kernels"].startswith(_core.build_info()["cuda"])


def test_has_every_part(report):
    assert set(report) == {
        "onedraw",
        "kernels",
        "build",
        "cuda",
        "python",
        "cpu",
        "torch",
        "packages",
        "environment",
    }
    assert report["packages"]["torch"]
    assert report["torch"]["version"]


def test_is_plain_json(report):
    assert json.loads(json.dumps(report)) == report


def test_text_has_every_fact(report):
    text = info.render(report)
    for part in report:
        assert f"{part}\n" in text or text.startswith(part)
    assert report["kernels"]["chosen"] in text


@pytest.mark.parametrize("words", [("-m", "onedraw.info"), ("-m", "onedraw", "info")])
def test_as_a_command(words):
    done = run(*words, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["kernels"]["chosen"]


def test_names_the_variables_that_are_set():
    done = run("-m", "onedraw.info", "--json", ONEDRAW_KERNEL="reference", HF_TOKEN="secret")
    report = json.loads(done.stdout)
    assert report["environment"]["ONEDRAW_KERNEL"] == "reference"
    assert report["kernels"]["chosen"] == "reference"
    assert "secret" not in done.stdout


def test_an_unknown_kernel_is_reported_not_raised():
    done = run("-m", "onedraw.info", "--json", ONEDRAW_KERNEL="abacus")
    assert done.returncode == 1
    assert "abacus" in json.loads(done.stdout)["kernels"]["error"]
    assert "Traceback" not in done.stderr


def without_torch(folder: Path) -> dict[str, str]:
    """An environment in which `import torch` fails."""
    (folder / "torch.py").write_text("raise ImportError('torch is not here')\n")
    return {"PYTHONPATH": str(folder)}


def test_without_torch(tmp_path):
    done = run("-m", "onedraw.info", "--json", **without_torch(tmp_path))
    report = json.loads(done.stdout)
    assert done.returncode == 0, done.stderr
    assert "torch is not here" in report["torch"]["error"]
    assert report["kernels"]["chosen"]
    assert report["cuda"]["kernels"].startswith(_core.build_info()["cuda"])


def test_the_command_line_without_torch(tmp_path):
    done = run("-m", "onedraw", "info", **without_torch(tmp_path))
    assert done.returncode == 0, done.stderr
    assert "torch is not here" in done.stdout


@pytest.mark.parametrize("content", [None, b"not a shared object"])
def test_an_extension_that_does_not_load(tmp_path, content):
    """The file alone, beside no extension or a broken one."""
    shutil.copy(SCRIPT, tmp_path / "info.py")
    if content is not None:
        suffix = Path(_core.__file__).name.removeprefix("_core")
        (tmp_path / f"_core{suffix}").write_bytes(content)
    done = run(str(tmp_path / "info.py"), "--json")
    report = json.loads(done.stdout)
    assert done.returncode == 1
    assert report["kernels"]["error"]
    assert report["python"]["version"]
    assert report["cuda"]["kernels"] == "unknown: the extension did not load"


def test_an_extension_that_ends_the_process(monkeypatch):
    monkeypatch.setattr(info, "CORE_PROBE", "import os; os.abort()")
    report = info.collect()
    assert report["kernels"]["error"] == "the process was ended by SIGABRT"
    assert report["torch"]["version"]


def test_needs_the_standard_library_alone():
    code = f"import runpy, sys; runpy.run_path({str(SCRIPT)!r}); print(*sys.modules)"
    done = run("-S", "-c", code)
    assert done.returncode == 0, done.stderr
    assert not {"torch", "numpy", "typer", "rich"} & set(done.stdout.split())


@pytest.mark.parametrize(
    ("capability", "code"),
    [
        ("7.5", "sm_75"),
        ("8.0", "sm_80"),
        ("8.6", "sm_80"),  # the generation's, from the oldest on
        ("8.7", "PTX of 80"),  # a Jetson runs no other's machine code
        ("8.9", "sm_89"),
        ("9.0", "sm_90a"),
        ("10.3", "sm_100"),
        ("11.0", "PTX of 90"),
        ("7.0", None),
        ("12.1", "PTX of 90"),
    ],
)
def test_which_code_a_device_runs(capability, code):
    found = info.code_for(capability, ["75", "80", "89", "90", "90a", "100f"], ["80", "90"])
    assert found == code or (code and found and found.startswith(f"{code},"))


@pytest.fixture(scope="module")
def driver(tmp_path_factory) -> dict[str, str]:
    """An environment with a driver of CUDA 13.2 that has two GPUs."""
    folder = tmp_path_factory.mktemp("driver")
    compiled(FAKE_DRIVER, folder / "libcuda.so.1")
    return {"LD_LIBRARY_PATH": str(folder), "FAKE_CUDA": "13020", "FAKE_GPUS": "90 110"}


def compiled(source: Path, library: Path) -> None:
    subprocess.run(
        ["g++", "-x", "c", "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True
    )


def cuda_of(**environment: str) -> dict[str, Any]:
    """The part `cuda` of a report by a build for the architecture 90, without the other parts."""
    build = {"cuda": "in this build", "cuda_architectures": ["90"], "cuda_ptx": ["90"]}
    code = (
        f"import json, runpy; info = runpy.run_path({str(SCRIPT)!r});"
        f"print(json.dumps(info['_cuda']({{'build': {build}}}, info['_driver']())))"
    )
    done = run("-c", code, **environment)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_the_driver_and_its_devices(driver):
    cuda = cuda_of(**driver)
    assert cuda["driver"]["cuda"] == "13.2"
    names = ["index", "name", "capability", "processors"]
    devices = [[device[name] for name in names] for device in cuda["devices"]]
    assert devices == [[0, "Fake GPU 90", "9.0", 132], [1, "Fake GPU 110", "11.0", 132]]
    assert cuda["devices"][0]["code"] == "sm_90"
    assert cuda["devices"][1]["code"].startswith("PTX of 90")


def test_a_device_that_the_build_has_no_code_for(driver):
    (device,) = cuda_of(**driver | {"FAKE_GPUS": "75"})["devices"]
    assert device["code"] == "none: build with -C cmake.define.ONEDRAW_CUDA_ARCHITECTURES=75"


def test_a_driver_without_a_device(driver):
    cuda = cuda_of(**driver | {"FAKE_GPUS": ""})
    assert cuda["devices"] == []
    assert cuda["driver"]["cuda"] == "13.2"
    assert cuda["driver"]["cuInit"] == "CUDA_ERROR_NO_DEVICE"


@pytest.mark.parametrize(
    "code", [None, "int cuDriverGetVersion(int *v) { return 999; }", "int nothing;"]
)
def test_a_driver_that_is_broken(tmp_path, code):
    """No shared object, one that fails, one that lacks what is asked of it."""
    (tmp_path / "libcuda.so.1").write_bytes(b"nothing")
    if code is not None:
        (tmp_path / "driver.c").write_text(code)
        compiled(tmp_path / "driver.c", tmp_path / "libcuda.so.1")
    cuda = cuda_of(LD_LIBRARY_PATH=str(tmp_path))
    assert list(cuda["driver"]) == ["error"]
    assert cuda["devices"] == []


def test_the_table_of_tunings():
    rows = [{"capability": "9.0", "rows": 64, "parts": 1}, {"capability": "any", "rows": 1}]
    cuda = info._cuda({"tuning": rows}, {"error": "none"})
    assert cuda["tuning"] == rows
    assert info.render({"cuda": {"tuning": rows}}).splitlines() == [
        "cuda",
        "  tuning           capability  rows  parts",
        "                   9.0         64    1",
        "                   any         1     none",
    ]
