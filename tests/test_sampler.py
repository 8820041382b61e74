"""Sampler: what it counts, remembers, selects, saves, and refuses."""

import gc
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import onedraw

SETTINGS: dict[str, Any] = {"temperature": 0.9, "top_k": 40, "top_p": 0.95, "min_p": 0.01}
NAN = float("nan")


def random_logits(*shape: int) -> Tensor:
    return 2 * torch.randn(*shape, generator=torch.Generator().manual_seed(len(shape)))


LOGITS = random_logits(4, 200)


def tokens_of(sampler: onedraw.Sampler, steps: int, rows: Any = slice(None)) -> Tensor:
    return torch.stack([sampler(LOGITS[rows]) for _ in range(steps)])


@pytest.mark.parametrize("position", [0, 7, [3, 0, 2**32 - 10, 5]])
@pytest.mark.parametrize("seed", [11, [1, 2, 3, 2**64 - 1]])
def test_a_sampler_is_sample_at_each_position(position: Any, seed: Any, kernel: str) -> None:
    sampler = onedraw.Sampler(**SETTINGS, seed=seed, position=position)
    for step in range(4):
        at = [p + step for p in position] if isinstance(position, list) else position + step
        expected = onedraw.sample(LOGITS, **SETTINGS, seed=seed, position=at)
        assert torch.equal(sampler(LOGITS), expected)
    after = sampler.position
    assert (after.tolist() if isinstance(after, Tensor) else after) == (
        [p + 4 for p in position] if isinstance(position, list) else position + 4
    )


def test_settings_of_rows(kernel: str) -> None:
    settings: dict[str, Any] = {
        "temperature": [0, 0.5, None, 2],
        "top_k": torch.tensor([3, 0, 50, 7]),
        "top_p": np.array([1, 0.9, 0.5, 0.99]),
        "seed": onedraw.seeds(1, range(4)),
        "stream": [0, 1, 2, 0],
        "position": torch.arange(4),
    }
    together = tokens_of(onedraw.Sampler(**settings), 3)
    for row in range(4):
        own = {name: values[row] for name, values in settings.items()}
        assert torch.equal(tokens_of(onedraw.Sampler(**own), 3, row), together[:, row])


def test_params_of_rows() -> None:
    rows = [onedraw.SamplingParams(temperature=0.1 * (r + 1), seed=r, top_k=5) for r in range(4)]
    together = tokens_of(onedraw.Sampler(params=rows), 3)
    for row, entry in enumerate(rows):
        assert torch.equal(
            tokens_of(onedraw.Sampler(params=entry), 3, [row])[:, 0], together[:, row]
        )
    assert torch.equal(onedraw.Sampler(params=rows, temperature=0)(LOGITS), LOGITS.argmax(-1))


def test_steps_advance_by_their_number(kernel: str) -> None:
    logits = random_logits(4, 3, 50)
    for position in (2, [2, 9, 0, 4]):
        sampler = onedraw.Sampler(seed=[1, 2, 3, 4], position=position)
        block = sampler(logits)
        one_by_one = onedraw.Sampler(seed=[1, 2, 3, 4], position=position)
        single = torch.stack([one_by_one(logits[:, t]) for t in range(3)], dim=1)
        assert torch.equal(block, single)
        expected = torch.as_tensor(one_by_one.position)
        assert torch.equal(torch.as_tensor(sampler.position), expected)
    assert torch.equal(
        sampler(logits[:, :2]), torch.stack([one_by_one(logits[:, t]) for t in (0, 1)], 1)
    )


@pytest.mark.parametrize("shape", [(9,), (1, 9), (3, 9), (2, 3, 9)])
def test_keepdim(shape: tuple[int, ...]) -> None:
    logits = random_logits(*shape)
    column = onedraw.Sampler(seed=1)(logits, keepdim=True)
    assert column.shape == (*shape[:-1], 1)
    assert torch.equal(column.squeeze(-1), onedraw.Sampler(seed=1)(logits))


def test_results_are_tensors_of_their_own() -> None:
    sampler = onedraw.Sampler(seed=1)
    first = sampler(LOGITS)
    before = first.clone()
    sampler(LOGITS)
    assert torch.equal(first, before)


def test_a_record_advances_and_leaves_no_trace(kernel: str) -> None:
    plain, recorded = onedraw.Sampler(**SETTINGS, seed=3), onedraw.Sampler(**SETTINGS, seed=3)
    expected = tokens_of(plain, 3)
    assert torch.equal(recorded(LOGITS), expected[0])
    draw = recorded.draw(LOGITS, report="all", top_logprobs=5)
    stateless = onedraw.draw(LOGITS, **SETTINGS, seed=3, position=1, report="all", top_logprobs=5)
    for got, of_function in zip(draw, stateless, strict=True):
        assert torch.equal(got, of_function)
    assert torch.equal(draw.token, expected[1])
    assert torch.equal(recorded(LOGITS), expected[2])


def test_edits_of_the_sampler_and_of_a_call(kernel: str) -> None:
    mask = torch.zeros(4, 200, dtype=torch.bool)
    mask[:, 10:20] = True
    sampler = onedraw.Sampler(temperature=0, allowed=mask, logit_bias={15: 100.0})
    assert sampler(LOGITS).tolist() == [15] * 4
    assert sampler(LOGITS, logit_bias=[{11: 100.0}, {12: 100.0}, None, {}]).tolist()[:2] == [11, 12]
    assert sampler(LOGITS, allowed=torch.arange(200) == 77).tolist() == [77] * 4
    assert sampler.draw(LOGITS, allowed=torch.arange(200) == 78).token.tolist() == [78] * 4
    with pytest.raises(ValueError, match="allowed must be"):
        sampler(LOGITS, allowed=torch.ones(3, dtype=torch.bool))
    with pytest.raises(ValueError, match="logit_bias must have token ids"):
        sampler(LOGITS, logit_bias={200: 1.0})
    assert sampler(LOGITS).tolist() == [15] * 4
    plain = onedraw.Sampler(temperature=0)
    assert plain(LOGITS, logit_bias=torch.arange(200.0) * 100).tolist() == [199] * 4
    assert torch.equal(plain(LOGITS), LOGITS.argmax(-1))


def test_what_was_given_may_change_afterwards() -> None:
    given: dict[str, Any] = {
        "temperature": torch.ones(4),
        "seed": torch.arange(4),
        "position": torch.zeros(4, dtype=torch.int64),
        "allowed": torch.ones(4, 200, dtype=torch.bool),
        "logit_bias": {3: 1.0},
    }
    expected = tokens_of(onedraw.Sampler(**given), 2)
    sampler = onedraw.Sampler(**given)
    given["temperature"].zero_()
    given["seed"] += 1
    given["position"] += 1
    given["allowed"][:] = False
    given["logit_bias"][3] = 1e9
    assert torch.equal(tokens_of(sampler, 2), expected)
    assert given["position"].tolist() == [1] * 4


def test_the_last_position() -> None:
    last = 2**32 - 1
    for position in (last, [last, 0, 0, 0]):
        sampler = onedraw.Sampler(seed=[1, 2, 3, 4], position=position)
        sampler(LOGITS)
        with pytest.raises(ValueError, match=r"position must be in \[0, 2\^32 - 1\]"):
            sampler(LOGITS)


def test_another_batch_size_is_an_error() -> None:
    sampler = onedraw.Sampler(seed=1)
    sampler(LOGITS)
    with pytest.raises(ValueError, match="as many rows as this Sampler, 4, got 3: select"):
        sampler(LOGITS[:3])
    with pytest.raises(ValueError, match="as many rows as this Sampler, 4, got 1"):
        sampler(LOGITS[0])
    assert sampler.position == 1
    for settings in (
        {"top_k": [1, 2]},
        {"seed": [1, 2]},
        {"params": [onedraw.SamplingParams()] * 2},
    ):
        with pytest.raises(ValueError, match="as many rows as this Sampler, 2, got 4"):
            onedraw.Sampler(**settings)(LOGITS)  # type: ignore[arg-type]
    with pytest.raises(
        ValueError, match="top_k must have one value a row, 2 as temperature, got 3"
    ):
        onedraw.Sampler(temperature=[1.0, 1.0], top_k=[1, 2, 3])


def test_a_row_alone_is_a_batch_of_one() -> None:
    sampler = onedraw.Sampler(seed=1)
    assert sampler(LOGITS[0]).shape == ()
    assert sampler(LOGITS[:1]).shape == (1,)


def test_a_bad_row_is_an_error_and_the_position_stays(kernel: str) -> None:
    bad = LOGITS.clone()
    bad[2, 5] = NAN
    sampler, fine = onedraw.Sampler(seed=1), onedraw.Sampler(seed=1)
    for draw in (sampler, sampler.draw):
        with pytest.raises(onedraw.BadRowError, match="row 2 has a NaN"):
            draw(bad)
    assert sampler.position == 0
    assert torch.equal(sampler(LOGITS), fine(LOGITS))
    sampler.check()


def test_bad_rows_are_remembered_until_checked(kernel: str) -> None:
    bad = LOGITS.clone()
    bad[2, 5] = NAN
    sampler = onedraw.Sampler(seed=1, raise_on_bad=False, bad_token=9)
    fine = onedraw.Sampler(seed=1)
    sampler.check()
    token, expected = sampler(bad), fine(LOGITS)
    assert token[2] == 9
    assert torch.equal(token[[0, 1, 3]], expected[[0, 1, 3]])
    sampler(LOGITS)
    assert sampler.draw(bad.fill_(-torch.inf)).status.tolist() == [2] * 4
    assert sampler.position == 3
    for _ in range(2):
        with pytest.raises(onedraw.BadRowError) as caught:
            sampler.check()
        assert caught.value.statuses == (2, 2, 2, 2)
    sampler.select([2])
    with pytest.raises(onedraw.BadRowError, match="row 0"):
        sampler.check()
    sampler.reset()
    sampler.check()


def test_bad_steps_are_remembered_by_request() -> None:
    bad = random_logits(3, 2, 10)
    bad[1, 0, 0] = NAN
    sampler = onedraw.Sampler(seed=1, raise_on_bad=False)
    sampler(bad)
    with pytest.raises(onedraw.BadRowError) as caught:
        sampler.check()
    assert caught.value.rows == (1,)


def test_bad_token_must_be_a_token() -> None:
    with pytest.raises(ValueError, match=r"bad_token must be a token id in \[0, 199\], got 200"):
        onedraw.Sampler(bad_token=200)(LOGITS)


@pytest.mark.parametrize("position", [0, [0, 1, 2, 3]])
def test_modes_may_change_between_calls(position: Any) -> None:
    expected = tokens_of(onedraw.Sampler(seed=[1, 2, 3, 4], position=position), 3)
    with torch.inference_mode():
        sampler = onedraw.Sampler(seed=[1, 2, 3, 4], position=position)
        first = sampler(LOGITS)
    second = sampler(LOGITS)
    with torch.inference_mode():
        third = sampler(LOGITS)
    assert torch.equal(torch.stack([first, second, third]), expected)


def test_other_shapes_in_turn() -> None:
    sampler = onedraw.Sampler(seed=1, logit_bias={7: 1.0})
    reference = onedraw.Sampler(seed=1, logit_bias={7: 1.0})
    narrow, wide = random_logits(4, 50), random_logits(4, 1, 300)
    for logits in (narrow, wide, narrow.half(), narrow):
        at = reference.position
        expected = onedraw.sample(logits, seed=1, position=at, logit_bias={7: 1.0})
        assert torch.equal(sampler(logits), expected)
        reference(logits)


def test_a_long_run_keeps_no_memory() -> None:
    sampler = onedraw.Sampler(seed=[1, 2, 3, 4], position=[0] * 4)
    for _ in range(50):
        sampler(LOGITS)
        sampler.draw(LOGITS, report="all")
    gc.collect()
    before = sum(type(thing) is Tensor for thing in gc.get_objects())
    for _ in range(200):
        sampler(LOGITS)
        sampler.draw(LOGITS, report="all")
    gc.collect()
    assert sum(type(thing) is Tensor for thing in gc.get_objects()) <= before
