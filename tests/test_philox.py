"""Philox4x32-10 of the core and of the oracle: the known answers, and each other."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onedraw import _core
from oracle import race

KNOWN = json.loads((Path(__file__).parent / "vectors" / "philox.json").read_text())["rows"]
word = st.integers(0, 2**32 - 1)


@pytest.mark.parametrize("known", KNOWN, ids=lambda row: row["counter"][0])
def test_known_answers(known):
    counter, key, output = (
        tuple(int(w, 16) for w in known[name]) for name in ("counter", "key", "output")
    )
    assert tuple(race.philox(counter, key)) == output
    assert tuple(_core.philox(*counter, *key)) == output


@given(st.tuples(word, word, word, word), st.tuples(word, word))
def test_core_equals_oracle(counter, key):
    assert tuple(_core.philox(*counter, *key)) == tuple(race.philox(counter, key))
