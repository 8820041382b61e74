"""Rows that the statistical tests draw from: synthetic ones, and those of a real model.

The tests here run on the kernel that onedraw chooses; that the others draw the same tokens bit for bit
is shown in `tests/test_invariance.py`. They share code with the benchmarks (`benchmarks.one_row`,
`benchmarks.coupling`), which is why the repository's root is put on the path.
"""

import sys
from pathlib import Path

import pytest
from torch import Tensor

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent.parent)]


@pytest.fixture(scope="session")
def lm_rows() -> Tensor:
    """float32 [8, 4096] with the tail of a language model."""
    from benchmarks.data import make_logits

    return make_logits("lm", 8, 4096, seed=5)


@pytest.fixture(scope="session")
def real_rows() -> Tensor:
    """float32 [12, V]: what SmolLM2 says at every fourth place of a short text."""
    pytest.importorskip("transformers")
    from benchmarks import real
    from onedraw.models import ModelError

    try:
        return real.real_rows(12)
    except ModelError as error:
        pytest.skip(str(error))
