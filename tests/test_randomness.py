"""Where the noise comes from: (seed, stream, position), a generator, and nothing else."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from torch import Tensor

import onedraw
from onedraw import _core, randomness

FLAT = torch.zeros(1000)  # all tokens equal: a token is nothing but its noise


def drawn(seed: int, stream: int = 0, position: int = 0) -> int:
    return int(onedraw.sample(FLAT, seed=seed, stream=stream, position=position))


def test_a_key_gives_one_token(kernel: str) -> None:
    keys = [(s, j, t) for s in (0, 1, -1) for j in (0, 1, 2**32 - 1) for t in (0, 7, 2**32 - 1)]
    tokens = [drawn(*key) for key in keys]
    assert tokens == [drawn(*key) for key in keys]
    assert len(set(tokens)) > len(keys) / 2


@pytest.mark.parametrize(
    ("one", "same"), [(-1, 2**64 - 1), (-(2**63), 2**63), (2**63 + 5, 5 - 2**63)]
)
def test_a_seed_is_its_64_bits(one: int, same: int) -> None:
    assert drawn(one) == drawn(same)
    rows = onedraw.sample(FLAT.expand(2, 1000), seed=[one, same], position=0)
    assert rows.tolist() == [drawn(one), drawn(one)]
    if one >= 0:
        bits = torch.tensor([one], dtype=torch.uint64)
        assert onedraw.sample(FLAT, seed=bits, position=0) == drawn(one)
        bits = torch.from_numpy(np.array([one], dtype=np.uint64))
        assert onedraw.sample(FLAT, seed=bits, position=0) == drawn(one)


def test_a_bare_seed_gives_each_row_its_stream(kernel: str) -> None:
    got = onedraw.sample(FLAT.expand(5, 1000), seed=3, stream=10, position=2)
    assert got.tolist() == [drawn(3, 10 + row, 2) for row in range(5)]
    got = onedraw.sample(FLAT.expand(5, 1000), seed=3, position=2)
    assert got.tolist() == [drawn(3, row, 2) for row in range(5)]
    got = onedraw.sample(FLAT.expand(2, 3, 1000), seed=3, stream=10, position=2)
    assert got.tolist() == [[drawn(3, 10 + b, 2 + t) for t in range(3)] for b in range(2)]
    for sampler in (onedraw.Sampler(seed=3, stream=10, position=2), onedraw.Sampler(seed=3)):
        first = (10, 2) if sampler.position else (0, 0)
        got = sampler(FLAT.expand(4, 1000))
        assert got.tolist() == [drawn(3, first[0] + row, first[1]) for row in range(4)]


def test_seeds_or_streams_of_rows_are_read_as_they_are(kernel: str) -> None:
    rows = FLAT.expand(3, 1000)
    got = onedraw.sample(rows, seed=[7, 8, 7], position=[0, 0, 5])
    assert got.tolist() == [drawn(7), drawn(8), drawn(7, 0, 5)]
    got = onedraw.sample(rows, seed=[7, 8, 7], stream=4, position=0)
    assert got.tolist() == [drawn(7, 4), drawn(8, 4), drawn(7, 4)]
    got = onedraw.sample(rows, seed=7, stream=torch.tensor([0, 1, 1]), position=0)
    assert got.tolist() == [drawn(7), drawn(7, 1), drawn(7, 1)]


def test_steps_draw_at_the_positions_that_follow(kernel: str) -> None:
    got = onedraw.sample(FLAT.expand(2, 3, 1000), seed=[4, 5], stream=1, position=[10, 0])
    assert got.tolist() == [
        [drawn(4, 1, 10 + t) for t in range(3)],
        [drawn(5, 1, t) for t in range(3)],
    ]


def test_seeds_are_the_specifications_generator() -> None:
    for seed, request in [(0, 0), (2**64 - 1, 5), (-7, -1), (9, 2**40 + 3)]:
        key = seed % 2**64
        low, high, _, _ = _core.philox(
            request % 2**32,
            request // 2**32 % 2**32,
            int.from_bytes(b"seed", "big"),
            2**32 - 1,
            key % 2**32,
            key // 2**32,
        )
        assert onedraw.seeds(seed, [request]).item() % 2**64 == low + (high << 32)


def test_seeds_depend_on_the_request_alone() -> None:
    all_of_them = onedraw.seeds(1, range(1000))
    assert all_of_them.dtype is torch.int64
    assert all_of_them.unique().numel() == 1000
    some = [999, 3, 500]
    assert torch.equal(onedraw.seeds(1, some), all_of_them[some])
    assert torch.equal(onedraw.seeds(1, torch.tensor(some)), all_of_them[some])
    assert torch.equal(onedraw.seeds(1, (i for i in some)), all_of_them[some])
    assert not torch.equal(onedraw.seeds(2, some), all_of_them[some])
    assert onedraw.seeds(0, []).shape == (0,)


@pytest.mark.parametrize(
    ("given", "error"),
    [
        ("abc", TypeError),
        (5, TypeError),
        ([1.5], TypeError),
        ([True], TypeError),
        ([2**63], ValueError),
        (torch.tensor([1.5]), TypeError),
        (torch.tensor(3), ValueError),
    ],
)
def test_requests_that_are_no_integers(given: object, error: type[Exception]) -> None:
    with pytest.raises(error, match="request_ids"):
        onedraw.seeds(0, given)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="seed must be an integer"):
        onedraw.seeds(2**64, [1])


def unseeded(generator: torch.Generator | None = None) -> list[int]:
    return [int(onedraw.sample(FLAT, generator=generator)) for _ in range(5)]


def test_torch_manual_seed_reproduces_a_run(kernel: str) -> None:
    torch.manual_seed(5)
    run = unseeded()
    assert len(set(run)) > 1
    torch.manual_seed(5)
    assert unseeded() == run
    torch.manual_seed(6)
    assert unseeded() != run


def test_a_generator_of_ones_own() -> None:
    before = torch.get_rng_state()
    run = unseeded(torch.Generator().manual_seed(5))
    assert run == unseeded(torch.Generator().manual_seed(5))
    assert torch.equal(torch.get_rng_state(), before)


def test_a_call_takes_one_number_whatever_its_size() -> None:
    torch.manual_seed(5)
    onedraw.sample(torch.zeros(64, 7, 9))
    after_one = torch.get_rng_state()
    torch.manual_seed(5)
    torch.empty((), dtype=torch.int64).random_()
    assert torch.equal(torch.get_rng_state(), after_one)


def test_what_is_seeded_or_greedy_takes_none() -> None:
    before = torch.get_rng_state()
    onedraw.sample(FLAT, seed=1, position=0)
    onedraw.sample(FLAT, temperature=0)
    onedraw.probs(FLAT)
    onedraw.kept_mask(FLAT, top_k=3)
    onedraw.Sampler(temperature=0)(FLAT)
    onedraw.Sampler(seed=3)(FLAT)
    assert torch.equal(torch.get_rng_state(), before)


def test_rows_without_a_seed_among_seeded_ones(kernel: str) -> None:
    rows = FLAT.expand(4, 1000)

    def ask() -> Tensor:
        return onedraw.sample(rows, seed=[1, None, None, 2], position=3)

    torch.manual_seed(0)
    first, second = ask(), ask()
    for got in (first, second):
        assert got[0] == drawn(1, 0, 3)
        assert got[3] == drawn(2, 0, 3)
        assert got[1] != got[2]
    assert not torch.equal(first, second)
    torch.manual_seed(0)
    assert torch.equal(ask(), first)


def test_threads_take_seeds_of_their_own() -> None:
    """Half a thousand seeds from eight threads at once: none twice, none half-written."""
    torch.manual_seed(0)
    expected = {randomness.seed_from(None) for _ in range(500)}
    torch.manual_seed(0)
    with ThreadPoolExecutor(8) as pool:
        got = list(pool.map(lambda _: randomness.seed_from(None), range(500)))
    assert set(got) == expected


def test_the_mode_in_which_a_seed_is_first_taken_does_not_matter() -> None:
    with torch.inference_mode():
        unseeded()
    unseeded()
    with torch.no_grad(), torch.device("meta"):
        unseeded()


class OfCuda(torch.Generator):
    """A generator as torch has them for CUDA: a seed and an offset, 16 bytes of state on the host."""

    device = torch.device("cuda")

    def __init__(self) -> None:
        self.words = torch.tensor([11, 0])

    def get_state(self) -> torch.Tensor:
        return self.words.clone().view(torch.uint8)

    def set_state(self, state: torch.Tensor) -> None:
        self.words = state.view(torch.int64)


def test_a_generator_of_cuda_gives_a_seed_and_moves_on() -> None:
    logits = torch.zeros(2, 1000)
    first, second = OfCuda(), OfCuda()
    tokens = [onedraw.sample(logits, generator=first) for _ in range(3)]
    assert first.words.tolist() == [11, 12]
    assert not torch.equal(tokens[0], tokens[1])
    assert all(
        torch.equal(onedraw.sample(logits, generator=second), expected) for expected in tokens
    )
    torch.rand(1)  # torch's own generator plays no part
    assert torch.equal(onedraw.sample(logits, generator=OfCuda()), tokens[0])
