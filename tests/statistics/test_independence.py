"""Draws at other positions, streams, seeds and samples are independent (false alarms: `ALPHA` each).

Power: with 100,000 pairs over 8 letters, a sequence that repeats its last letter in an extra 3 % of the
places fails with a probability above 0.999 (`test_a_planted_dependence_is_caught`).
"""

import numpy as np
import pytest
import torch
from goodness import ALPHA, independent
from numpy.typing import NDArray
from torch import Tensor

import onedraw
from benchmarks.one_row import draws

COUNT = 100_000
VOCAB = 512  # 8 blocks of 64, all tokens equally likely
ROW = torch.zeros(VOCAB)

# Two alphabets of 8 letters: the block that won the first level, and the place within it.
LETTERS = {"block": lambda tokens: tokens // 64, "place": lambda tokens: tokens % 8}


def drawn(seed: Tensor | int, stream: Tensor | int, position: Tensor | int) -> Tensor:
    """int64 [COUNT] tokens; each argument is a number for all or a tensor [COUNT]."""
    as_tensor = torch.full((COUNT,), seed) if isinstance(seed, int) else seed
    rows = ROW.expand(COUNT, -1)
    return onedraw.sample(rows, seed=as_tensor, stream=stream, position=position)


def letters(alphabet: str, tokens: Tensor) -> NDArray[np.int64]:
    found: NDArray[np.int64] = LETTERS[alphabet](tokens).numpy()
    return found


@pytest.fixture(scope="module")
def along() -> dict[str, Tensor]:
    """Sequences that vary one argument and hold the others."""
    counter = torch.arange(COUNT)
    return {
        "position": drawn(1, 0, counter),
        "stream": drawn(1, counter, 0),
        "seed": drawn(counter, 0, 0),
        "seed high word": drawn(counter << 32, 0, 0),
    }


@pytest.mark.parametrize("alphabet", LETTERS)
@pytest.mark.parametrize("axis", ["position", "stream", "seed", "seed high word"])
def test_serial(along: dict[str, Tensor], axis: str, alphabet: str) -> None:
    """A draw and the draws 1, 2, 3, 4, 64 and 256 further along one axis."""
    sequence = letters(alphabet, along[axis])
    for lag in (1, 2, 3, 4, 64, 256):
        assert independent(sequence[:-lag], sequence[lag:], 8) >= ALPHA, lag


@pytest.mark.parametrize("alphabet", LETTERS)
def test_cross(along: dict[str, Tensor], alphabet: str) -> None:
    """The same counter read as position, as stream, as seed and as the seed's high word."""
    names = list(along)
    for index, first in enumerate(names):
        for second in names[index + 1 :]:
            # The first entry is the same draw for all: seed 1 or 0, stream 0, position 0.
            one, other = (letters(alphabet, along[name][1:]) for name in (first, second))
            assert independent(one, other, 8) >= ALPHA, (first, second)


@pytest.mark.parametrize("alphabet", LETTERS)
def test_neighbouring_streams_and_seeds(alphabet: str) -> None:
    """Whole texts side by side: position by position, for the next stream and the next seed."""
    counter = torch.arange(COUNT)
    base = letters(alphabet, drawn(1, 0, counter))
    for other in (drawn(1, 1, counter), drawn(2, 0, counter), drawn(1 - 2**63, 0, counter)):
        assert independent(base, letters(alphabet, other), 8) >= ALPHA


def test_position_and_stream_do_not_change_places() -> None:
    """(position p, stream 7) against (position 7, stream p): another draw, independent of it."""
    counter = torch.arange(COUNT)
    first, second = drawn(1, 7, counter), drawn(1, counter, 7)
    differ = counter != 7
    assert independent((first[differ] // 64).numpy(), (second[differ] // 64).numpy(), 8) >= ALPHA


def test_the_two_levels_are_independent(along: dict[str, Tensor]) -> None:
    """The block that wins says nothing about the place that wins in it."""
    tokens = along["position"]
    assert independent((tokens // 64).numpy(), (tokens % 64 // 8).numpy(), 8) >= ALPHA


def test_samples_of_a_row_are_independent() -> None:
    rows = torch.ones(VOCAB).expand(COUNT // 4, -1)
    position = torch.arange(COUNT // 4)
    seed = torch.full((COUNT // 4,), 1)
    tokens = onedraw.multinomial(rows, 4, True, seed=seed, position=position).numpy()
    for one in range(4):
        for other in range(one):
            for letter in (tokens // 64, tokens % 8):
                assert independent(letter[:, one], letter[:, other], 8) >= ALPHA


def test_rows_of_a_bare_seed_are_independent() -> None:
    """A bare int seed gives row r the stream r: neighbouring rows of a batch."""
    tokens = onedraw.sample(ROW.expand(COUNT, -1), seed=3, position=5)
    for alphabet in LETTERS:
        sequence = letters(alphabet, tokens)
        assert independent(sequence[:-1], sequence[1:], 8) >= ALPHA


def test_lagged_correlation_of_weights(lm_rows: Tensor) -> None:
    """Serial correlation of -log p over a text of one row: |r| below 5.4 / sqrt(n) at each lag."""
    row = lm_rows[3, :1000]
    surprise = -row.log_softmax(0)[draws(row, COUNT, seed=21)].double()
    centred = surprise - surprise.mean()
    for lag in range(1, 21):
        r = float((centred[:-lag] * centred[lag:]).mean() / centred.pow(2).mean())
        assert abs(r) < 5.4 / COUNT**0.5, lag


def test_a_planted_dependence_is_caught(along: dict[str, Tensor]) -> None:
    sequence = letters("block", along["position"]).copy()
    repeat = np.random.default_rng(4).random(COUNT - 1) < 0.03
    sequence[1:][repeat] = sequence[:-1][repeat]
    assert independent(sequence[:-1], sequence[1:], 8) < ALPHA
