"""What a parameter may be, and what is made of it before it reaches the binding."""

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import onedraw
from onedraw import params

LOGITS = torch.tensor([[0.0, 1.0, 2.0, 3.0, 2.5], [3.0, 3.0, 1.0, 0.0, -1.0]])


def kept(**settings: Any) -> list[list[bool]]:
    return onedraw.kept_mask(LOGITS, **settings).tolist()


def test_params_are_frozen_hashable_and_equal_by_value() -> None:
    one, same = onedraw.SamplingParams(top_k=5), onedraw.SamplingParams(top_k=5)
    assert one == same
    assert {one: 1}[same] == 1
    with pytest.raises(dataclasses.FrozenInstanceError):
        one.top_k = 6  # type: ignore[misc]


@pytest.mark.parametrize(
    ("name", "off"),
    [("temperature", 1), ("top_k", 0), ("top_k", -1), ("top_p", 1), ("top_p", 1.0), ("min_p", 0)],
)
def test_off_in_every_form(name: str, off: float, kernel: str) -> None:
    everything = onedraw.probs(LOGITS)
    for value in (None, off, [off, None], torch.tensor([off, off]), np.array([off, off])):
        assert torch.equal(onedraw.probs(LOGITS, **{name: value}), everything)


def test_zero_temperature_keeps_one() -> None:
    assert kept(temperature=0, top_k=3) == [[False] * 3 + [True, False], [True] + [False] * 4]


@pytest.mark.parametrize(
    "value",
    [
        [2, 1],
        (2, 1),
        torch.tensor([2, 1]),
        torch.tensor([2, 1], dtype=torch.int32),
        torch.tensor([2, 1], dtype=torch.uint8),
        torch.tensor([[2, 9], [1, 9]])[:, 0],
        np.array([2, 1], dtype=np.int16),
        np.array([1, 2])[::-1],
        range(2, 0, -1),
    ],
)
def test_one_value_a_row_in_every_form(value: Any, kernel: str) -> None:
    assert onedraw.kept_mask(LOGITS, top_k=value).sum(-1).tolist() == [2, 1]


UNSIGNED = [torch.uint8, torch.uint16, torch.uint32, torch.uint64]


@pytest.mark.parametrize("dtype", UNSIGNED)
@pytest.mark.parametrize("name", ["top_k", "seed", "stream", "position", "temperature", "top_p"])
def test_unsigned_tensors(name: str, dtype: torch.dtype) -> None:
    """Of every integer type that torch has, as a tensor, a view, a number, or an array of NumPy."""
    logits = torch.linspace(0, 1, 300).expand(2, 300)
    given = [1, 1] if name == "top_p" else [0, 3]
    keyed: dict[str, Any] = {"seed": [5, 6], "position": 0}
    expected = onedraw.sample(logits, **{**keyed, name: given})
    tensor = torch.tensor(given, dtype=dtype)
    spaced = torch.tensor([[v, 9] for v in given], dtype=dtype)[:, 0]
    for form in (tensor, spaced, tensor.numpy()):
        assert torch.equal(onedraw.sample(logits, **{**keyed, name: form}), expected)
    if name != "seed":
        expected = onedraw.sample(logits, **{**keyed, name: given[1]})
        assert torch.equal(onedraw.sample(logits, **{**keyed, name: tensor[1]}), expected)


def test_large_unsigned_numbers() -> None:
    most = torch.tensor([2**32 - 1, 2], dtype=torch.uint32)
    assert onedraw.kept_mask(LOGITS, top_k=most).sum(-1).tolist() == [5, 2]
    by_tensor = onedraw.sample(LOGITS, seed=[1, 2], stream=most, position=most.to(torch.uint64))
    by_list = onedraw.sample(LOGITS, seed=[1, 2], stream=[2**32 - 1, 2], position=[2**32 - 1, 2])
    assert torch.equal(by_tensor, by_list)
    sampler = onedraw.Sampler(seed=torch.tensor([2**64 - 1, 2**63], dtype=torch.uint64))
    assert sampler.state_dict()["seed"].tolist() == [-1, -(2**63)]
    same = onedraw.seeds(0, torch.tensor([2, 2**63 - 1], dtype=torch.uint64))
    assert torch.equal(same, onedraw.seeds(0, [2, 2**63 - 1]))


@pytest.mark.parametrize("value", [2, np.int64(2), np.uint8(2), torch.tensor(2)])
def test_one_number_in_every_form(value: Any) -> None:
    assert onedraw.kept_mask(LOGITS, top_k=value).sum(-1).tolist() == [2, 2]


ELEMENTS = [
    ("temperature", [0.5, 2.0], [torch.tensor(0.5), torch.tensor(2, dtype=torch.int8)]),
    ("temperature", [0.5, 2.0], [torch.tensor(0.5, requires_grad=True), np.array(2.0)]),
    ("top_k", [2, 1], [torch.tensor(2), torch.tensor(1, dtype=torch.uint64)]),
    ("top_k", [2, 1], list(torch.tensor([2, 1]))),
    ("top_k", [2, 1], [np.array(2), np.int8(1)]),
    ("top_p", [0.5, 1 / 3], [torch.tensor(0.5).half(), torch.tensor(1 / 3, dtype=torch.float64)]),
    ("seed", [5, 6], list(torch.tensor([5, 6]))),
]


@pytest.mark.parametrize(("name", "numbers", "elements"), ELEMENTS)
def test_tensors_in_a_list_are_the_numbers_that_they_hold(
    name: str, numbers: list[float], elements: list[Any]
) -> None:
    logits = torch.linspace(0, 1, 300).expand(2, 300)
    keyed: dict[str, Any] = {"seed": [8, 9], "position": 0}
    expected = onedraw.draw(logits, **{**keyed, name: numbers})
    found = onedraw.draw(logits, **{**keyed, name: elements})
    assert torch.equal(found.logprob, expected.logprob)
    assert torch.equal(found.token, expected.token)


@pytest.mark.parametrize("name", ["temperature", "top_p", "min_p"])
@pytest.mark.parametrize("number", [0.1, 0.7, 1 / 3, 1e-6])
def test_real_parameters_are_rounded_to_float32_once(name: str, number: float) -> None:
    logits = torch.linspace(-3, 3, 500).expand(2, 500)
    single = np.float32(number)
    forms = [
        number,
        single,
        float(single),
        [number, number],
        torch.tensor([number] * 2),
        torch.tensor([number] * 2, dtype=torch.float64),
        torch.tensor(number, dtype=torch.float64),
        np.array([number] * 2),
    ]
    expected = onedraw.probs(logits, **{name: float(single)})
    for form in forms:
        assert torch.equal(onedraw.probs(logits, **{name: form}), expected), form


def test_lower_precision_is_widened() -> None:
    half = torch.tensor([0.3, 0.7], dtype=torch.float16)
    expected = onedraw.probs(LOGITS, top_p=half.float())
    assert torch.equal(onedraw.probs(LOGITS, top_p=half), expected)


def test_the_lowest_and_highest_temperature() -> None:
    for value in (1e-6, 1e6, float(np.float32(1e-6)), torch.tensor([1e-6, 1e6])):
        onedraw.probs(LOGITS, temperature=value)


def test_none_in_a_list_is_off() -> None:
    assert onedraw.kept_mask(LOGITS, top_k=[None, 2]).sum(-1).tolist() == [5, 2]
    assert onedraw.kept_mask(LOGITS, top_p=[0.01, None]).sum(-1).tolist() == [1, 5]


def test_params_object_equals_keywords(kernel: str) -> None:
    settings = {"temperature": 0.7, "top_k": 3, "top_p": 0.9, "min_p": 0.1, "ties": "keep"}
    expected = onedraw.probs(LOGITS, **settings)
    got = onedraw.probs(LOGITS, params=onedraw.SamplingParams(**settings))
    assert torch.equal(got, expected)


def test_a_keyword_wins_over_params() -> None:
    few = onedraw.SamplingParams(top_k=1)
    assert onedraw.kept_mask(LOGITS, params=few, top_k=2).sum(-1).tolist() == [2, 2]
    assert onedraw.kept_mask(LOGITS, params=[few, few], top_k=[3, 4]).sum(-1).tolist() == [3, 4]


@pytest.mark.parametrize(
    ("name", "value", "off"),
    [
        ("temperature", 0.2, 1.0),
        ("top_k", 3, 0),
        ("top_p", 0.2, 1.0),
        ("min_p", 0.9, 0.0),
        ("ties", "keep", "first"),
        ("stream", 5, 0),
    ],
)
def test_none_leaves_what_params_set_and_the_off_value_does_not(
    name: str, value: Any, off: Any
) -> None:
    logits = torch.arange(3000) // 1500 / 2  # 1500 tokens equal, and as many that are less likely
    common = {"top_k": 2} if name == "ties" else {}
    params_ = onedraw.SamplingParams(seed=1, **{**common, name: value})  # type: ignore[arg-type]

    def ask(**keywords: Any) -> list[float]:
        draw = onedraw.draw(logits, position=0, **keywords)
        return [draw.token.item(), draw.num_kept.item(), draw.logprob.item()]

    assert ask(params=params_, **{name: None}) == ask(params=params_)
    assert ask(params=params_, **{name: off}) == ask(seed=1, **common) != ask(params=params_)


def test_one_params_a_row(kernel: str) -> None:
    rows = [onedraw.SamplingParams(temperature=0), onedraw.SamplingParams(top_p=0.5, min_p=0.1)]
    got = onedraw.probs(LOGITS, params=rows)
    for row, entry in enumerate(rows):
        assert torch.equal(got[row], onedraw.probs(LOGITS[row], params=entry))


def test_seeds_of_params() -> None:
    rows = [onedraw.SamplingParams(seed=2**64 - 1), onedraw.SamplingParams(seed=5, stream=3)]
    got = onedraw.sample(LOGITS, params=rows, position=4)
    for row, entry in enumerate(rows):
        alone = onedraw.sample(LOGITS[row], params=entry, position=4)
        assert got[row] == alone
    explicit = onedraw.sample(LOGITS, seed=[-1, 5], stream=[0, 3], position=4)
    assert torch.equal(got, explicit)


def test_ties_are_one_for_a_call() -> None:
    tied = torch.ones(2, 4)
    keep = onedraw.SamplingParams(top_k=2, ties="keep")
    assert onedraw.kept_mask(tied, params=[keep, keep]).sum() == 8
    with pytest.raises(ValueError, match="ties must be the same for every row"):
        onedraw.kept_mask(tied, params=[keep, onedraw.SamplingParams(top_k=2)])


def test_what_is_read_in_place_is_not_changed() -> None:
    values = {"temperature": torch.tensor([0.5, 2.0]), "seed": torch.tensor([1, 2])}
    before = {name: value.clone() for name, value in values.items()}
    onedraw.sample(LOGITS, **values, position=0)
    assert all(torch.equal(values[name], before[name]) for name in values)


def test_checked_tensors_share_memory_where_they_can() -> None:
    value = torch.tensor([0.5, 0.25])
    checked = params.per_row(params.TOP_P, value)
    assert isinstance(checked, Tensor)
    assert checked.data_ptr() == value.data_ptr()


def test_params_keep_plain_numbers() -> None:
    given = onedraw.SamplingParams(np.float32(0.5), np.int64(3), seed=torch.tensor(7))  # type: ignore[arg-type]
    assert given == onedraw.SamplingParams(0.5, 3, seed=7)
    held = onedraw.SamplingParams(torch.tensor(0.5, requires_grad=True), np.array(3), seed=7)  # type: ignore[arg-type]
    assert repr(held) == repr(given)
    assert hash(given) == hash(onedraw.SamplingParams(0.5, 3, seed=7))
    assert repr(given) == repr(onedraw.SamplingParams(0.5, 3, seed=7))
