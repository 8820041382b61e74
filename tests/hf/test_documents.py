"""What the documents show of onedraw.hf runs, and the versions that they list are those tested."""

import re
from pathlib import Path

import pytest
import torch
from versions import VERSIONS

import onedraw

ROOT = Path(__file__).resolve().parent.parent.parent
PAGE = ROOT / "docs" / "huggingface.md"

pytestmark = pytest.mark.skipif(not PAGE.exists(), reason="the tests run outside the repository")


def blocks(page):
    return re.findall(r"^```python\n(.*?)^```", page.read_text(encoding="utf-8"), re.M | re.S)


@pytest.mark.slow
def test_the_examples_run(smollm2):
    names = {}
    patched, drawn, looped = blocks(PAGE)
    exec(patched, names)
    text = names["text"]
    for other in (drawn, looped):
        exec(other, names)
        assert torch.equal(names.pop("text"), text)
    assert text.shape[0] == 2
    (shown,) = (block for block in blocks(ROOT / "README.md") if "onedraw.hf." in block)
    exec(shown, names)
    assert torch.equal(names["tokens"][:, : text.shape[1]], text)


def test_the_names_exist():
    for name in re.findall(r"`(onedraw(?:\.\w+)+)", PAGE.read_text(encoding="utf-8")):
        thing = onedraw
        for part in name.split(".")[1:]:
            thing = getattr(thing, part)


def test_the_versions():
    table = PAGE.read_text(encoding="utf-8").partition("## Versions")[2].partition("##")[0]
    assert re.findall(r"^\| (5[\d.]+) \|", table, re.M) == VERSIONS
