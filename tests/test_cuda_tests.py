"""The tests of the CUDA kernel are skipped where there is no device; where there has to be one, they fail."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize(
    ("told", "outcome"), [({}, "skipped"), ({"ONEDRAW_TEST_CUDA": "1"}, "error")]
)
def test_without_a_device(told, outcome):
    environment = {
        k: v for k, v in os.environ.items() if k not in ("ONEDRAW_TEST_CUDA", "CUDA_ON_CPU")
    }
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "tests/cuda/test_layouts.py",
    ]
    done = subprocess.run(
        command,
        cwd=ROOT,
        env=environment | told | {"CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert outcome in done.stdout.splitlines()[-1], done.stdout
    assert "passed" not in done.stdout
    assert bool(done.returncode) == bool(told)


def test_the_run_on_a_cpu_is_told_that_there_is_one():
    assert "export ONEDRAW_TEST_CUDA=1" in (ROOT / ".ci/cuda_on_cpu").read_text()
