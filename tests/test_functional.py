"""The stateless functions: shapes, forms of their arguments, and a row being the same as alone."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import onedraw

KEYED: dict[str, Any] = {"seed": 5, "position": 2}
SETTINGS: dict[str, Any] = {"temperature": 0.9, "top_k": 20, "top_p": 0.95, "min_p": 0.01}
OPTIONAL = ("raw_logprob", "rank", "entropy", "kept_mass")


def random_logits(*shape: int) -> Tensor:
    return 3 * torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)))


@pytest.mark.parametrize("shape", [(70,), (1, 70), (3, 70), (2, 3, 70), (3, 1)])
def test_shapes(shape: tuple[int, ...], kernel: str) -> None:
    logits, rows = random_logits(*shape), shape[:-1]
    token = onedraw.sample(logits, **KEYED)
    assert (token.shape, token.dtype) == (rows, torch.int64)
    column = onedraw.sample(logits, **KEYED, keepdim=True)
    assert column.shape == (*rows, 1)
    assert torch.equal(column.squeeze(-1), token)
    mask, probs = onedraw.kept_mask(logits, **SETTINGS), onedraw.probs(logits, **SETTINGS)
    assert (mask.shape, mask.dtype) == (shape, torch.bool)
    assert (probs.shape, probs.dtype) == (shape, torch.float32)
    assert torch.equal(probs > 0, mask)
    assert torch.allclose(probs.sum(-1), torch.ones(rows))


@pytest.mark.parametrize("shape", [(70,), (3, 70), (2, 3, 70)])
def test_a_record_has_the_shape_of_the_rows(shape: tuple[int, ...], kernel: str) -> None:
    logits, rows = random_logits(*shape), shape[:-1]
    draw = onedraw.draw(logits, **SETTINGS, **KEYED, report="all", top_logprobs=4)
    dtypes = {"token": torch.int64, "rank": torch.int64, "num_kept": torch.int64}
    dtypes |= {"status": torch.int32, "top_tokens": torch.int64}
    for name, value in draw._asdict().items():
        assert value.shape == (rows if not name.startswith("top_") else (*rows, 4)), name
        assert value.dtype is dtypes.get(name, torch.float32), name
    assert torch.equal(draw.token, onedraw.sample(logits, **SETTINGS, **KEYED))
    column = onedraw.draw(logits, **SETTINGS, **KEYED, keepdim=True, report=("rank",))
    assert column.rank is not None
    assert column.rank.shape == column.token.shape == (*rows, 1)
    assert column.status.shape == rows  # so that check names the row


def test_only_what_is_asked_for_is_reported() -> None:
    logits = random_logits(2, 70)
    everything = onedraw.draw(logits, **KEYED, report="all")
    for asked in [(), *OPTIONAL, *((name,) for name in OPTIONAL), list(OPTIONAL), {"rank"}]:
        names = {asked} if isinstance(asked, str) else set(asked)
        draw = onedraw.draw(logits, **KEYED, report=asked)  # type: ignore[arg-type]
        assert draw.top_tokens is draw.top_logprobs is None
        for name in OPTIONAL:
            value = getattr(draw, name)
            assert (value is not None) == (name in names)
            assert value is None or torch.equal(value, getattr(everything, name))


def test_the_top_tokens_are_in_the_total_order(kernel: str) -> None:
    draw = onedraw.draw(torch.tensor([1.0, 2.0, 2.0, -torch.inf]), top_logprobs=4, top_k=2)
    assert draw.top_tokens is not None
    assert draw.top_logprobs is not None
    assert draw.top_tokens.tolist() == [1, 2, 0, 0]
    assert draw.top_logprobs[2:].tolist() == [-torch.inf, -torch.inf]


def test_a_row_is_the_same_as_alone(kernel: str) -> None:
    logits = random_logits(5, 300)
    settings: dict[str, Any] = {
        "temperature": [0, 0.5, 1, 2, None],
        "top_k": torch.tensor([3, 0, 50, 7, 1]),
        "top_p": [None, 0.9, 0.5, 1, 0.99],
        "min_p": np.array([0, 0.1, 0, 0.3, 0.02]),
        "seed": onedraw.seeds(1, range(5)),
        "stream": [0, 1, 2, 0, 9],
        "position": torch.arange(5),
        "logit_bias": [{3: 5.0}, None, {}, {0: -torch.inf, 299: 2.0}, {1: 1.0}],
        "allowed": torch.rand(5, 300, generator=torch.Generator().manual_seed(0)) < 0.8,
    }
    together = onedraw.draw(logits, **settings, report="all", top_logprobs=3)
    for row in range(5):
        own = {name: values[row] for name, values in settings.items()}
        own["stream"], own["allowed"] = int(own["stream"]), settings["allowed"][row]
        alone = onedraw.draw(logits[row], **own, report="all", top_logprobs=3)
        for name, value in alone._asdict().items():
            assert torch.equal(value, getattr(together, name)[row]), name


def test_allowed_in_every_form(kernel: str) -> None:
    logits = random_logits(3, 70)
    mask = torch.rand(3, 70, generator=torch.Generator().manual_seed(1)) < 0.3
    bits = torch.zeros(3, 96, dtype=torch.int64)
    bits[:, :70] = mask
    words = (bits.view(3, 3, 32) << torch.arange(32)).sum(-1).to(torch.int32)
    wide = torch.cat([words, torch.full((3, 2), -1, dtype=torch.int32)], dim=-1)
    expected = onedraw.probs(logits.masked_fill(~mask, -torch.inf))
    spread = torch.zeros(3, 140, dtype=torch.bool)
    spread[:, ::2] = mask
    for form in (
        mask,
        words,
        wide,
        spread[:, ::2],
        wide[:, :3],
        mask.numpy(),
        mask.t().contiguous().t(),
    ):
        assert torch.equal(onedraw.probs(logits, allowed=form), expected)
    first = onedraw.probs(logits.masked_fill(~mask[0], -torch.inf))
    for form in (mask[0], words[0], mask[:1].expand(3, 70), words[:1].expand(3, 3)):
        assert torch.equal(onedraw.probs(logits, allowed=form), first)


def test_logit_bias_in_every_form(kernel: str) -> None:
    logits = random_logits(3, 70)
    same = {65: 4.0, 2: -torch.inf, 30: -1.5}
    dense = torch.zeros(70)
    for token, value in same.items():
        dense[token] = value
    expected = onedraw.probs(logits + dense)
    reversed_order = dict(reversed(same.items()))
    for form in (
        same,
        reversed_order,
        {np.int64(token): np.float32(value) for token, value in same.items()},
        [same] * 3,
        dense,
        dense.expand(3, 70),
        dense.double(),
        dense.bfloat16(),
        dense.numpy(),
        dense.clone().requires_grad_(),
    ):
        assert torch.equal(onedraw.probs(logits, logit_bias=form), expected)
    for form in (None, {}, [{}, None, {}], torch.zeros(70)):
        assert torch.equal(onedraw.probs(logits, logit_bias=form), onedraw.probs(logits))


def test_edits_of_steps_are_one_a_step_or_one_a_request(kernel: str) -> None:
    logits = random_logits(2, 3, 70)
    mask = torch.rand(2, 3, 70, generator=torch.Generator().manual_seed(2)) < 0.5
    flat = logits.view(6, 70)
    a_step = onedraw.probs(logits, allowed=mask, logit_bias=mask.float()).view(6, 70)
    expected = onedraw.probs(flat, allowed=mask.view(6, 70), logit_bias=mask.view(6, 70).float())
    assert torch.equal(a_step, expected)
    one = onedraw.probs(logits[:1], allowed=mask[:1, 0], logit_bias=mask[:1, 0].float())
    assert torch.equal(
        one[0], onedraw.probs(logits[0], allowed=mask[0, 0], logit_bias=mask[0, 0].float())
    )
    a_request = onedraw.probs(logits, allowed=mask[:, 0], logit_bias=[{3: 1.0}, {4: 2.0}])
    for b in range(2):
        alone = onedraw.probs(logits[b], allowed=mask[b, 0], logit_bias={3 + b: 1.0 + b})
        assert torch.equal(a_request[b], alone)


def test_out_is_written_and_returned(kernel: str) -> None:
    logits = random_logits(3, 70)
    expected = onedraw.sample(logits, **KEYED)
    out = torch.full((3,), -1)
    assert onedraw.sample(logits, **KEYED, out=out) is out
    assert torch.equal(out, expected)
    tokens = torch.zeros(3, 5, dtype=torch.int64)  # a column of it is not contiguous
    onedraw.sample(logits, **KEYED, out=tokens[:, 2])
    assert torch.equal(tokens[:, 2], expected)
    assert tokens.sum() == expected.sum()
    draw = onedraw.draw(logits, **KEYED, out=tokens[:, 4])
    assert torch.equal(tokens[:, 4], expected)
    assert draw.token.data_ptr() == tokens[:, 4].data_ptr()


def test_outputs_made_in_inference_mode_are_written_outside_it() -> None:
    logits = random_logits(3, 70)
    expected = onedraw.sample(logits, **KEYED)
    with torch.inference_mode():
        tokens = torch.zeros(3, 5, dtype=torch.int64)
        statuses = torch.full((3, 2), -1, dtype=torch.int32)
        column = tokens[:, 2]
    for ask in (onedraw.sample, onedraw.draw):
        tokens.numpy()[:] = statuses.numpy()[:] = -1
        ask(logits, **KEYED, out=column, status_out=statuses.T[1])
        assert torch.equal(column, expected)
        assert statuses.tolist() == [[-1, 0]] * 3


def test_status_out_of_any_layout(kernel: str) -> None:
    logits = random_logits(3, 70)
    logits[1, 1] = torch.nan
    statuses = torch.full((3, 2), -1, dtype=torch.int32)
    onedraw.sample(logits, status_out=statuses[:, 1], raise_on_bad=False)
    assert statuses.tolist() == [[-1, 0], [-1, 1], [-1, 0]]
    draw = onedraw.draw(logits, status_out=statuses[:, 0], raise_on_bad=False)
    assert statuses[:, 0].tolist() == draw.status.tolist() == [0, 1, 0]


def test_top_k_beyond_the_vocabulary_keeps_all(kernel: str) -> None:
    logits = random_logits(2, 70)
    for k in (70, 71, 2**40, 2**63 - 1):
        assert torch.equal(onedraw.probs(logits, top_k=k), onedraw.probs(logits))
