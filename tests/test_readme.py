"""The README's Python runs: examples with a prompt as doctests, definitions as code."""

import doctest
import re
from pathlib import Path

import pytest
import torch

import onedraw

README = Path(__file__).resolve().parent.parent / "README.md"
FLAGS = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS

pytestmark = pytest.mark.skipif(not README.exists(), reason="the tests run outside the repository")


def blocks() -> list[tuple[int, str]]:
    """Each ```python block with the line that it starts at."""
    text = README.read_text(encoding="utf-8")
    return [
        (text.count("\n", 0, found.start(1)), found.group(1))
        for found in re.finditer(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    ]


def test_examples_with_a_prompt():
    """All share one namespace, as a reader who types them in has it."""
    parser = doctest.DocTestParser()
    runner = doctest.DocTestRunner(optionflags=FLAGS)
    names: dict[str, object] = {}
    count = 0
    for line, source in blocks():
        if ">>>" in source:
            test = parser.get_doctest(source, names, "README.md", str(README), line)
            count += len(test.examples)
            runner.run(test, clear_globs=False)
            names = test.globs
    assert count >= 8
    assert runner.summarize(verbose=False).failed == 0


def definitions(word: str) -> list[dict[str, object]]:
    """A namespace for each block that defines the function of this name."""
    found = []
    for line, source in blocks():
        if f"def {word}(" in source and ">>>" not in source:
            names: dict[str, object] = {"torch": torch}
            exec("from torch.nn import functional as F\nimport onedraw", names)
            exec(compile("\n" * line + source, str(README), "exec"), names)
            found.append(names)
    return found


def test_the_loop_before_and_after():
    before, after, whole = (names["generate"] for names in definitions("generate"))
    weights = torch.randn(10, 10, generator=torch.Generator().manual_seed(0))
    start = torch.zeros(2, 1, dtype=torch.int64)

    def model(tokens):
        return weights[tokens]

    assert before(model, start, 12, 4).shape == (2, 13)
    tokens = after(model, start, 12, 4, seed=3)
    assert tokens.shape == (2, 13)
    assert torch.equal(tokens, after(model, start, 12, 4, seed=3))
    # `generate` derives a seed for each prompt; with these, the loop draws what it draws.
    each = onedraw.seeds(3, range(2))
    assert torch.equal(after(model, start, 12, 4, seed=each), whole(model, start, 12, 4, seed=3))


@pytest.mark.slow
def test_a_real_model():
    (names,) = definitions("tell")
    text = names["tell"]("The man walked the cat")
    assert text.startswith("The man walked the cat")
    assert text == names["tell"]("The man walked the cat")


def test_commands_exist():
    text = README.read_text(encoding="utf-8")
    makefile = (README.parent / "Makefile").read_text(encoding="utf-8")
    for target in re.findall(r"^make ([a-z-]+)", text, re.MULTILINE):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
