"""torch.set_flush_denormal, which sets a state of the calling thread, changes no answer."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

import onedraw


@pytest.fixture
def flushing() -> Iterator[None]:
    if not torch.set_flush_denormal(True):
        pytest.skip("this processor cannot flush subnormals to zero")
    yield
    torch.set_flush_denormal(False)


def subnormals(rows: int, vocab: int) -> Tensor:
    """Different float32 below 2^-126, of either sign."""
    bits = torch.randint(1, 2**23, (rows, vocab), generator=torch.Generator().manual_seed(1))
    signs = torch.arange(rows * vocab).reshape(rows, vocab) % 2 * -(2**31)
    return (bits + signs).to(torch.int32).view(torch.float32)


LOGITS = subnormals(5, 700)
WEIGHTS = (LOGITS.view(torch.int32) & 0x7FFFFFFF).view(torch.float32)
SPREAD = torch.linspace(0, -103, 700).repeat(5, 1)  # e^-103 is the smallest float32
KEYED = {"seed": 3, "position": 4}


def answers() -> list[Tensor]:
    drawn = onedraw.draw(LOGITS, top_k=30, **KEYED, report="all", top_logprobs=5)
    return [
        onedraw.sample(LOGITS, temperature=0),
        onedraw.kept_mask(LOGITS, top_k=30),
        onedraw.multinomial(WEIGHTS, 20, **KEYED),
        onedraw.multinomial(WEIGHTS, 20, replacement=True, **KEYED),
        onedraw.probs(SPREAD),
        onedraw.sample(SPREAD, logit_bias=LOGITS[0], **KEYED),
        *(part for part in drawn if part is not None),
    ]


def bits(x: Tensor) -> Tensor:
    return x.view(torch.int32) if x.dtype is torch.float32 else x


EXPECTED: dict[str, list[Tensor]] = {}


def test_subnormals_are_told_apart(kernel: str) -> None:
    found = EXPECTED[kernel] = answers()
    assert found[0].tolist() == [int(row.argmax()) for row in LOGITS.double()]
    assert (found[1].sum(-1) == 30).all()
    assert ((found[4] > 0) & (found[4] < torch.finfo(torch.float32).tiny)).any()


def test_flushing_changes_no_answer(kernel: str, flushing: None) -> None:
    found = [bits(x) for x in answers()]
    torch.set_flush_denormal(False)
    expected = [bits(x) for x in EXPECTED.get(kernel) or answers()]
    assert all(torch.equal(x, y) for x, y in zip(found, expected, strict=True))


def test_the_caller_gets_its_state_back(kernel: str, flushing: None) -> None:
    onedraw.sample(LOGITS, **KEYED)
    tiny = LOGITS[0, :1].abs()
    assert (tiny * 1).item() == 0
    torch.set_flush_denormal(False)
    onedraw.sample(LOGITS, **KEYED)
    assert (tiny * 1).item() != 0


@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("top_p", 1e-40),
        ("min_p", 1e-40),
        ("min_p", [0.5, 0.5, 0.5, 0.5, 1e-40]),
        ("params", onedraw.SamplingParams(min_p=1e-40)),
        ("logit_bias", {3: -1e-40}),
    ],
)
def test_numbers_that_would_be_flushed_are_refused(name: str, given: Any, flushing: None) -> None:
    with pytest.raises(ValueError, match=r"must be 0 or at least 2\^-126 while .* got -?1e-40"):
        onedraw.probs(SPREAD, **{name: given})
    torch.set_flush_denormal(False)
    onedraw.probs(SPREAD, **{name: given})


def test_numbers_in_a_tensor_of_float32_are_read_as_they_are(kernel: str, flushing: None) -> None:
    torch.set_flush_denormal(False)
    small = torch.full((5,), 1e-40)
    expected = onedraw.kept_mask(SPREAD, min_p=small)
    torch.set_flush_denormal(True)
    found = onedraw.kept_mask(SPREAD, min_p=small)
    torch.set_flush_denormal(False)
    assert torch.equal(found, expected)
    assert not expected.all()
