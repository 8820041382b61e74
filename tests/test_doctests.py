"""Every example in a docstring of the package runs."""

import doctest
import importlib
import pkgutil

import pytest

import onedraw

FLAGS = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS

MODULES = sorted(
    module.name
    for module in pkgutil.walk_packages(onedraw.__path__, "onedraw.")
    if not module.name.endswith((".__main__", "._core"))
)


@pytest.mark.parametrize("name", MODULES)
def test_examples(name):
    result = doctest.testmod(importlib.import_module(name), optionflags=FLAGS)
    assert result.failed == 0


def test_there_are_examples():
    finder = doctest.DocTestFinder(exclude_empty=True)
    found = [
        test.name
        for name in MODULES
        for test in finder.find(importlib.import_module(name))
        if test.examples
    ]
    assert len(found) >= 10, found
