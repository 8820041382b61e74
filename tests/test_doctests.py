"""Every example in a docstring of the package runs."""

import doctest
import importlib
import importlib.util
import pkgutil
import re
from pathlib import Path

import pytest

import onedraw

FLAGS = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS

# The libraries that the tests can do without, and the packages that cannot be imported then.
OPTIONAL = {"llama_cpp": "onedraw.llama_cpp", "vllm": "onedraw.vllm.v1"}
MISSING = [ours for theirs, ours in OPTIONAL.items() if importlib.util.find_spec(theirs) is None]

MODULES = sorted(
    module.name
    for module in pkgutil.walk_packages(onedraw.__path__, "onedraw.")
    if not module.name.endswith((".__main__", "._core")) and module.name not in MISSING
)


@pytest.mark.parametrize("library", OPTIONAL)
def test_optional_examples_have_their_library(library):
    if OPTIONAL[library] in MISSING:
        pytest.skip(f"{library} is not installed: the examples of {OPTIONAL[library]} are not run")
    assert OPTIONAL[library] in MODULES


@pytest.mark.parametrize("name", MODULES)
def test_examples(name):
    result = doctest.testmod(importlib.import_module(name), optionflags=FLAGS)
    assert result.failed == 0


@pytest.mark.parametrize("name", MODULES)
def test_every_prompt_is_an_example(name):
    """What looks like an example in the source is one that the test above runs."""
    module = importlib.import_module(name)
    source = Path(module.__file__).read_text(encoding="utf-8")
    prompts = re.findall(r"^ *>>> ", source, re.MULTILINE)
    found = doctest.DocTestFinder().find(module)
    assert sum(len(test.examples) for test in found) == len(prompts)


def test_every_file_with_a_prompt_is_a_module():
    files = {importlib.import_module(name).__file__ for name in MODULES}
    package = Path(onedraw.__file__).parent
    missing = {package / name.removeprefix("onedraw.") for name in MISSING}
    with_prompts = {
        str(file)
        for file in package.rglob("*.py*")
        if file.suffix in (".py", ".pyi")
        and not missing.intersection(file.parents)
        and ">>> " in file.read_text(encoding="utf-8")
    }
    assert len(with_prompts) >= 10
    assert with_prompts <= files


def test_pytest_does_not_run_them_once_more(pytestconfig):
    assert not pytestconfig.getoption("doctestmodules")
    assert "python/onedraw" not in pytestconfig.getini("testpaths")
