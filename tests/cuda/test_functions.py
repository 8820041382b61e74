"""The functions on CUDA tensors: the answers of the CPU, and nothing that would wait for the device."""

from typing import Any

import numpy as np
import pytest
import torch

import onedraw
from onedraw import _core, devices

G = torch.Generator().manual_seed(0)
LOGITS = 3 * torch.randn(4, 700, generator=G)
MASK = torch.rand(4, 700, generator=G) < 0.7
WORDS = torch.randint(-(2**31), 2**31 - 1, (22,), dtype=torch.int32, generator=G)
KEYED = {"seed": 7, "position": 3}
SETTINGS: list[dict[str, Any]] = [
    {},
    {"temperature": 0},
    {"temperature": 0.7, "top_k": 20, "top_p": 0.9, "min_p": 0.01},
    {"temperature": [0, 0.5, 1, 2], "top_k": [1, None, 7, 700], "ties": "keep"},
    {"temperature": torch.tensor([0, 0.5, 1, 2]), "top_p": torch.tensor([0.1, 0.5, 0.9, 1])},
    {"temperature": torch.tensor(0.5), "top_k": torch.tensor(9)},
    {"seed": torch.arange(4), "position": torch.tensor([5, 6, 7, 8]), "stream": torch.arange(4)},
    {"seed": onedraw.seeds(3, range(4)), "position": 2**32 - 1},
    {"seed": torch.tensor(8), "position": torch.tensor(9)},
    {"allowed": MASK},
    {"allowed": MASK[0]},
    {"allowed": WORDS},
    {"logit_bias": {3: 9.0, 600: -5.0}},
    {"logit_bias": [{3: 9.0}, None, {}, {2: float("-inf")}]},
    {"logit_bias": torch.linspace(-3, 3, 700)},
    {"logit_bias": torch.linspace(-3, 3, 2800).view(4, 700).half()},
    {"params": [onedraw.SamplingParams(top_k=k, seed=k) for k in (1, 2, 3, 4)], "seed": None},
]


def there(cuda: Any, settings: dict[str, Any]) -> dict[str, Any]:
    return {name: cuda(value) for name, value in settings.items()}


@pytest.mark.parametrize("settings", SETTINGS, ids=lambda s: "-".join(s) or "none")
def test_the_answers_of_the_cpu(cuda, settings):
    given = {**KEYED, **settings}
    shaped = {name: value for name, value in given.items() if name not in ("seed", "position")}
    shaped.pop("stream", None)
    token = onedraw.sample(LOGITS, **given)
    record = onedraw.draw(LOGITS, **given, report="all", top_logprobs=3)
    mask, probs = onedraw.kept_mask(LOGITS, **shaped), onedraw.probs(LOGITS, **shaped)
    with cuda.here():
        x, given, shaped = cuda(LOGITS), there(cuda, given), there(cuda, shaped)
        assert torch.equal(onedraw.sample(x, **given).cpu(), token)
        got = onedraw.draw(x, **given, report="all", top_logprobs=3)
        got.check()
        for name, value, expected in zip(got._fields, got, record, strict=True):
            assert torch.equal(value.cpu(), expected), name
        assert torch.equal(onedraw.kept_mask(x, **shaped).cpu(), mask)
        assert torch.equal(onedraw.probs(x, **shaped).cpu(), probs)


@pytest.mark.parametrize("x", [LOGITS[0], LOGITS.view(2, 2, 700), LOGITS[:, ::2], LOGITS[:0]])
def test_shapes(cuda, x):
    token = onedraw.sample(x, **KEYED)
    kept = onedraw.sample(x, **KEYED, keepdim=True)
    with cuda.here():
        assert torch.equal(onedraw.sample(cuda(x), **KEYED).cpu(), token)
        assert torch.equal(onedraw.sample(cuda(x), **KEYED, keepdim=True).cpu(), kept)


def test_parameters_on_the_host_go_to_the_device(cuda):
    settings = {"temperature": torch.tensor([0.5, 1, 2, 3]), "allowed": MASK}
    token = onedraw.sample(LOGITS, **settings, **KEYED)
    with cuda.here():
        assert torch.equal(onedraw.sample(cuda(LOGITS), **settings, **KEYED).cpu(), token)


@pytest.mark.parametrize("replacement", [False, True])
def test_multinomial(cuda, replacement):
    weights = LOGITS.softmax(-1)
    ids = onedraw.multinomial(weights, 5, replacement, **KEYED)
    with cuda.here():
        got = onedraw.multinomial(cuda(weights), 5, replacement, **KEYED)
    assert torch.equal(got.cpu(), ids)


def test_an_unseeded_call_takes_one_seed(cuda):
    torch.manual_seed(5)
    first, second = onedraw.sample(LOGITS), onedraw.sample(LOGITS)
    torch.manual_seed(5)
    with cuda.here():
        assert torch.equal(onedraw.sample(cuda(LOGITS)).cpu(), first)
        assert torch.equal(onedraw.sample(cuda(LOGITS)).cpu(), second)


def test_bad_rows_are_statuses(cuda):
    x = LOGITS.clone()
    x[1, 5], x[3] = float("nan"), -float("inf")
    fine = onedraw.sample(LOGITS, **KEYED)
    with cuda.here():
        status = cuda(torch.full((4,), 9, dtype=torch.int32))
        token = onedraw.sample(cuda(x), **KEYED, status_out=status, bad_token=6).cpu()
        assert status.tolist() == [0, 1, 0, 2]
        assert token.tolist() == [int(fine[0]), 6, int(fine[2]), 6]
        record = onedraw.draw(cuda(x), **KEYED)
        with pytest.raises(onedraw.BadRowError, match="row 1 has a NaN; row 3 has no token left"):
            record.check()
        assert not onedraw.kept_mask(cuda(x), status_out=status)[1].any()
        assert not onedraw.probs(cuda(x), status_out=status)[3].any()
        assert status.tolist() == [0, 1, 0, 2]
        onedraw.multinomial(cuda(x), 2, **KEYED, status_out=status)
        assert status.tolist() == [3, 1, 3, 3]


def test_values_out_of_range_are_statuses(cuda):
    """What is on the device is not looked at from the host."""
    status = cuda(torch.zeros(4, dtype=torch.int32))
    bad = {
        "temperature": torch.tensor([1.0, -1.0, 1e-9, 1.0]),
        "top_p": torch.tensor([1.0, 0.0, 1.5, 1.0]),
        "min_p": torch.tensor([0.0, 2.0, -0.5, 1.0]),
    }
    with cuda.here():
        for name, values in bad.items():
            onedraw.sample(cuda(LOGITS), **{**KEYED, name: cuda(values)}, status_out=status)
            assert status.tolist() == [0, 3, 3, 0], name


def test_outputs_of_the_user(cuda):
    token = onedraw.sample(LOGITS, **KEYED)
    with cuda.here():
        out = cuda(torch.zeros(4, dtype=torch.int64))
        assert onedraw.sample(cuda(LOGITS), **KEYED, out=out) is out
        assert torch.equal(out.cpu(), token)
        spaced = cuda(torch.zeros(8, dtype=torch.int64))[::2]
        assert onedraw.sample(cuda(LOGITS), **KEYED, out=spaced) is spaced
        assert torch.equal(spaced.cpu(), token)


def test_the_workspace_is_kept_and_grows(cuda):
    with cuda.here(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(devices, "_workspaces", {})
        for rows, vocab in ((1, 100), (4, 700), (2, 50_000), (1, 100)):
            onedraw.sample(cuda(torch.zeros(rows, vocab)), **KEYED)
            sizes = [kept.numel() for kept in devices._workspaces.values()]
            assert len(sizes) == 1
            assert sizes[0] >= _core.cuda_workspace_bytes(0, rows, vocab)
        (space,) = devices._workspaces.values()
        onedraw.sample(cuda(torch.zeros(2, 50_000)), **KEYED)
        assert next(iter(devices._workspaces.values())) is space


def test_a_captured_call_has_a_workspace_of_its_own(cuda, monkeypatch):
    monkeypatch.setattr(devices, "_workspaces", {})
    monkeypatch.setattr(devices, "capturing", lambda: True)
    token = onedraw.sample(LOGITS, **KEYED)
    with cuda.here():
        assert torch.equal(onedraw.sample(cuda(LOGITS), **KEYED).cpu(), token)
        assert not devices._workspaces
        with pytest.raises(RuntimeError, match="seed must be given while a CUDA graph is captured"):
            onedraw.sample(cuda(LOGITS))


def test_what_would_wait_for_the_device_is_refused(cuda):
    wide = torch.tensor([0.5, 0.6, 0.7, 0.8], dtype=torch.float64)
    with cuda.here():
        x = cuda(LOGITS)
        with pytest.raises(TypeError, match="temperature must be float32 or narrower on a device"):
            onedraw.sample(x, temperature=cuda(wide))
        with pytest.raises(TypeError, match="logit_bias must be float32 or narrower on a device"):
            onedraw.sample(x, logit_bias=cuda(torch.zeros(700, dtype=torch.float64)))
        with pytest.raises(TypeError, match=r"top_k\[1\] must be a number here"):
            onedraw.sample(x, top_k=[1, cuda(torch.tensor(3)), 3, 4])


def test_arrays_on_the_host_stay_there(cuda):
    """What counts is where the logits are."""
    if cuda.device == "cpu":
        pytest.skip("the stand-in has one memory")
    assert onedraw.sample(np.zeros((2, 9), dtype=np.float32), **KEYED).device.type == "cpu"
    with pytest.raises(ValueError, match=r"top_k must be on the device of the logits \(cpu\)"):
        onedraw.sample(LOGITS, top_k=cuda(torch.arange(4)))
    with pytest.raises(ValueError, match="out must be on the device of the logits"):
        onedraw.sample(cuda(LOGITS), **KEYED, out=torch.zeros(4, dtype=torch.int64))
