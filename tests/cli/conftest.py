"""The commands, in this process, with a tiny model."""

import io
import sys

import pytest

import tiny_model
from onedraw.__main__ import main


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    return str(tiny_model.save(tmp_path_factory.mktemp("tiny")))


@pytest.fixture(autouse=True)
def no_input(monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.StringIO(""))


@pytest.fixture
def run(folder, capsys):
    """Run a command on the tiny model: (exit status, output, what was said on standard error)."""

    def command(*words):
        if words[0] in ("generate", "inspect"):
            words = (words[0], "--model", folder, *words[1:])
        status = main([str(word) for word in words])
        said = capsys.readouterr()
        assert "Traceback" not in said.err
        assert "\x1b" not in said.out + said.err  # nothing here is a terminal
        return status, said.out, said.err

    return command
