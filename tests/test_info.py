"""The environment report: it must come out whatever is broken."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from onedraw import _core, info

SCRIPT = Path(info.__file__)


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
    assert report["build"] == _core.build_info()


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
    assert report["cuda"]["onedraw"]


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
    assert report["cuda"]["devices"] == "unknown: torch did not load"


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
