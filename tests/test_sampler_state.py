"""What a Sampler remembers: its position, its rows when the batch is compacted, and a saved state."""

import copy
import io
import pickle
from typing import Any

import pytest
import torch
from torch import Tensor

import onedraw

SETTINGS: dict[str, Any] = {"temperature": 0.9, "top_k": 40, "top_p": 0.95, "min_p": 0.01}
LOGITS = 2 * torch.randn(4, 200, generator=torch.Generator().manual_seed(0))


def tokens_of(sampler: onedraw.Sampler, steps: int, rows: Any = slice(None)) -> Tensor:
    return torch.stack([sampler(LOGITS[rows]) for _ in range(steps)])


def test_the_position_can_be_set_and_reset() -> None:
    sampler = onedraw.Sampler(seed=9)
    run = tokens_of(sampler, 4)
    sampler.position = 1
    assert torch.equal(tokens_of(sampler, 2), run[1:3])
    sampler.reset()
    assert sampler.position == 0
    assert torch.equal(tokens_of(sampler, 2), run[:2])
    sampler.position = torch.tensor([3, 0, 1, 2])
    assert sampler(LOGITS).tolist() == [run[3, 0], run[0, 1], run[1, 2], run[2, 3]]
    position = sampler.position
    assert isinstance(position, Tensor)
    position += 100  # a copy
    assert torch.as_tensor(sampler.position).tolist() == [4, 1, 2, 3]
    sampler.reset(position=2)
    assert torch.equal(sampler(LOGITS), run[2])
    sampler.reset()
    assert sampler(LOGITS[:2]).shape == (2,)


@pytest.mark.parametrize("given", [[0, 1], torch.arange(5), -1, 2**32, True, 1.5])
def test_a_position_that_is_refused_changes_nothing(given: Any) -> None:
    sampler = onedraw.Sampler(seed=9, temperature=[1.0] * 4)
    expected = tokens_of(sampler, 2)[1]
    for act in (lambda: setattr(sampler, "position", given), lambda: sampler.reset(given)):
        with pytest.raises((ValueError, TypeError), match="position must"):
            act()
    sampler.position = 1
    assert torch.equal(sampler(LOGITS), expected)


@pytest.mark.parametrize("chosen", [[3, 1], (2,), torch.tensor([0, 3]), [2, 0, 1, 3], range(2), []])
@pytest.mark.parametrize("seed", [5, [5, 6, 7, 8], None])
def test_selected_rows_go_on_as_before(chosen: Any, seed: Any, kernel: str) -> None:
    settings: dict[str, Any] = {
        **SETTINGS,
        "temperature": [0.5, 1, 0, 2],
        "seed": seed,
        "position": [0, 4, 2, 9],
        "allowed": torch.rand(4, 200, generator=torch.Generator().manual_seed(0)) < 0.5,
        "logit_bias": [{1: 4.0}, None, {2: 4.0}, {3: 4.0}],
    }

    def make() -> onedraw.Sampler:
        generator = torch.Generator().manual_seed(0) if seed is None else None
        return onedraw.Sampler(**settings, generator=generator)

    whole, compacted = make(), make()
    assert torch.equal(whole(LOGITS), compacted(LOGITS))
    compacted.select(chosen)
    rows = chosen if isinstance(chosen, Tensor) else torch.tensor(list(chosen), dtype=torch.int64)
    for _ in range(3):
        assert torch.equal(compacted(LOGITS[rows]), whole(LOGITS)[rows])
    with pytest.raises(ValueError, match="as many rows as this Sampler"):
        compacted(LOGITS[:3])


def test_select_by_mask_and_twice() -> None:
    whole, compacted = onedraw.Sampler(seed=2), onedraw.Sampler(seed=2)
    whole(LOGITS), compacted(LOGITS)
    compacted.select(torch.tensor([True, False, True, True]))
    assert torch.equal(compacted(LOGITS[[0, 2, 3]]), whole(LOGITS)[[0, 2, 3]])
    compacted.select([2, 0])
    assert torch.equal(compacted(LOGITS[[3, 0]]), whole(LOGITS)[[3, 0]])
    compacted.reset()
    whole.reset()
    assert torch.equal(compacted(LOGITS), whole(LOGITS))


@pytest.mark.parametrize(
    ("rows", "error"),
    [
        ([4], ValueError),
        ([-1], ValueError),
        ([0.0], TypeError),
        ([True, False, True, True], TypeError),
        (2, TypeError),
        ("01", TypeError),
        (torch.ones(3, dtype=torch.bool), ValueError),
        (torch.ones(4), TypeError),
    ],
)
def test_rows_that_cannot_be_selected(rows: Any, error: type[Exception]) -> None:
    sampler = onedraw.Sampler(seed=2)
    with pytest.raises(ValueError, match="rows must be selected after the first draw"):
        sampler.select([0])
    sampler(LOGITS)
    with pytest.raises(error, match="rows"):
        sampler.select(rows)
    assert sampler(LOGITS).shape == (4,)


def test_unseeded_takes_one_seed_at_its_first_draw() -> None:
    torch.manual_seed(3)
    sampler = onedraw.Sampler()
    before = torch.get_rng_state()
    run = [sampler(LOGITS)]
    assert not torch.equal(torch.get_rng_state(), before)
    after = torch.get_rng_state()
    run += [sampler(LOGITS) for _ in range(3)]
    assert torch.equal(torch.get_rng_state(), after)
    torch.manual_seed(3)
    assert torch.equal(tokens_of(onedraw.Sampler(), 4), torch.stack(run))
    own = torch.Generator().manual_seed(3)
    assert torch.equal(tokens_of(onedraw.Sampler(generator=own), 4), torch.stack(run))


def test_reset_gives_an_unseeded_sampler_a_new_seed() -> None:
    sampler = onedraw.Sampler()
    logits = torch.zeros(4, 10_000)
    first = sampler(logits)
    sampler.reset()
    assert not torch.equal(sampler(logits), first)


@pytest.mark.parametrize("seed", [5, [5, 6, 7, 8], None])
@pytest.mark.parametrize("position", [0, [0, 3, 1, 2]])
def test_a_saved_sampler_goes_on(seed: Any, position: Any, kernel: str) -> None:
    mask = torch.arange(200) % 3 > 0
    bias: Any = [{1: 4.0}, None, {2: 4.0}, {3: 4.0}]
    settings: dict[str, Any] = {**SETTINGS, "seed": seed, "position": position, "ties": "keep"}
    sampler = onedraw.Sampler(**settings, allowed=mask, logit_bias=bias)
    sampler(LOGITS)
    sampler.select([0, 3])
    buffer = io.BytesIO()
    torch.save(sampler.state_dict(), buffer)
    expected = tokens_of(sampler, 3, [0, 3])
    buffer.seek(0)
    other = onedraw.Sampler(temperature=0)
    other(LOGITS)
    other.load_state_dict(torch.load(buffer))
    assert torch.equal(tokens_of(other, 3, [0, 3]), expected)


def test_a_state_is_a_copy() -> None:
    sampler = onedraw.Sampler(seed=[1, 2, 3, 4], position=[0] * 4)
    state = sampler.state_dict()
    run = tokens_of(sampler, 2)
    sampler.load_state_dict(state)
    assert torch.equal(tokens_of(sampler, 2), run)
    sampler.load_state_dict(state)
    assert torch.equal(tokens_of(sampler, 2), run)


def test_states_that_are_refused() -> None:
    sampler = onedraw.Sampler(seed=1)
    good = sampler.state_dict()
    for bad in ({}, {**good, "extra": 1}, {k: good[k] for k in list(good)[1:]}, None, "state"):
        with pytest.raises(ValueError, match="state must be a dict with the keys"):
            sampler.load_state_dict(bad)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"state must have the spec_version 0 .*got 99"):
        sampler.load_state_dict({**good, "spec_version": 99})
    assert sampler(LOGITS).shape == (4,)


META = torch.ones(4, device="meta")
IN_A_STATE = [
    # what, its value, the error, what is said of it
    ("temperature", -1.0, ValueError, "temperature must be 0"),
    ("temperature", "hot", TypeError, "temperature must be 0"),
    ("temperature", META, ValueError, "temperature must be on the device of the logits"),
    ("temperature", torch.ones(3), ValueError, "temperature must have one value a row, 4"),
    ("top_k", 2.5, TypeError, "top_k must be an integer"),
    ("top_p", torch.tensor([1.0, 0.5, 0.0, 1.0]), ValueError, r"top_p\[2\] must be in"),
    ("min_p", True, TypeError, "min_p must be in"),
    ("seed", 2**64, ValueError, "seed must be an integer"),
    ("seed", META.long(), ValueError, "seed must be on the device"),
    ("seed", [1, None, 2, 3], TypeError, "seed must be a number or a tensor"),
    ("stream", -1, ValueError, "stream must be an integer"),
    ("stream", None, TypeError, "stream must be an integer"),
    ("stream", torch.tensor([1, 2, 3, 4]), ValueError, "row_stream must be True where"),
    ("position", 2**32 + 1, ValueError, r"position must be an integer in \[0, 2\^32\]"),
    ("position", None, TypeError, "position must be an integer"),
    ("position", torch.zeros(4), TypeError, "position must be a tensor of an integer dtype"),
    ("position", torch.zeros(5).long(), ValueError, "position must have one value a row, 4"),
    ("bad_token", -1, ValueError, "bad_token must be a token id"),
    ("ties_keep", 1, TypeError, "ties_keep must be True or False"),
    ("row_stream", None, TypeError, "row_stream must be True or False"),
    ("row_stream", False, ValueError, "row_stream must be True where"),
    ("requests", -1, ValueError, "requests must be None or an integer"),
    ("requests", "4", TypeError, "requests must be None or an integer"),
    ("allowed", [True] * 200, TypeError, "allowed must be a tensor"),
    ("bad", torch.zeros(3, dtype=torch.int32), ValueError, r"bad must be .* int32 tensor \[4\]"),
    ("bad", torch.zeros(4), ValueError, "bad must be None or an int32"),
    ("bad", 0, ValueError, "bad must be None or an int32"),
    ("format", torch.ones(2), ValueError, "state must have the format 1"),
]


@pytest.mark.parametrize(("name", "value", "error", "text"), IN_A_STATE)
def test_a_value_in_a_state_is_checked(
    name: str, value: Any, error: type[Exception], text: str
) -> None:
    sampler, other = onedraw.Sampler(seed=1, **SETTINGS), onedraw.Sampler(seed=1, **SETTINGS)
    sampler(LOGITS), other(LOGITS)
    with pytest.raises(error, match=text):
        sampler.load_state_dict({**sampler.state_dict(), name: value})
    assert torch.equal(sampler(LOGITS), other(LOGITS))


def test_states_of_every_kind_are_loaded() -> None:
    """Before the first draw, unseeded and greedy, past the last position, with bad rows."""
    bad = LOGITS.clone()
    bad[2, 3] = torch.nan
    fresh, greedy = onedraw.Sampler(), onedraw.Sampler(temperature=0)
    greedy(LOGITS)
    selected = copy.deepcopy(greedy)
    selected.select([2, 1])
    last, noted = onedraw.Sampler(seed=1, position=2**32 - 1), onedraw.Sampler(raise_on_bad=False)
    last(LOGITS), noted(bad)
    for sampler in (fresh, greedy, selected, last, noted):
        other = onedraw.Sampler()
        other.load_state_dict(sampler.state_dict())
        one, same = sampler.state_dict(), other.state_dict()
        assert all(
            torch.equal(v, same[k]) if isinstance(v, Tensor) else v == same[k]
            for k, v in one.items()
        )
    with pytest.raises(onedraw.BadRowError, match="row 2 has a NaN"):
        other.check()


@pytest.mark.parametrize(
    "duplicate", [copy.copy, copy.deepcopy, lambda s: pickle.loads(pickle.dumps(s))]
)
@pytest.mark.parametrize("position", [0, [0, 1, 2, 3]])
def test_copies_count_for_themselves(duplicate: Any, position: Any) -> None:
    sampler = onedraw.Sampler(seed=1, position=position)
    sampler(LOGITS)
    twin = duplicate(sampler)
    expected = tokens_of(sampler, 3)
    assert torch.equal(tokens_of(twin, 3), expected)
