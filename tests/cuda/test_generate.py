"""`generate` with the CUDA kernel: the loop of a device, step by step and as a graph that is replayed."""

import sys
from pathlib import Path

import pytest
import torch

sys.path.append(str(Path(__file__).parents[1] / "generate"))

import replaying
from toys import Toy, tiny

import onedraw
from onedraw.generate import api, generate, graph, settings, stopping

PROMPTS = torch.randint(1, 40, (3, 4), generator=torch.Generator().manual_seed(3))
OPTIONS = {"max_new_tokens": 20, "seed": 4, "temperature": 1.5, "eos_token_id": [7, 11]}


@pytest.fixture
def on_cuda(cuda, monkeypatch):
    """A model and prompts go to the device; where that is the host, the loop takes it for one."""

    def run(model, **options):
        with cuda.here(), pytest.MonkeyPatch.context() as patch:
            if cuda.device == "cpu":
                patch.setattr(api, "Stopping", lambda *args: stopping.Stopping(*args[:3], False))
                check = settings.check_cuda_graph
                device = torch.device("cuda")
                patch.setattr(
                    settings,
                    "check_cuda_graph",
                    lambda graph, pretrained, _, *more: check(graph, pretrained, device, *more),
                )
                patch.setattr(graph, "capture", capture)
            return generate(model, cuda(PROMPTS), **options)

    return run


def capture(step, device):
    from transformers import masking_utils

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(masking_utils, "is_tracing", lambda tensor=None: True)
        return replaying.capture(step)


@pytest.mark.parametrize("details", [False, True])
def test_a_callable(cuda, on_cuda, details):
    toy = Toy()
    expected = generate(toy, PROMPTS, **OPTIONS, return_details=details)
    for name, value in vars(toy).items():
        setattr(toy, name, cuda(value))
    got = on_cuda(toy, **OPTIONS, return_details=details)
    if details:
        assert torch.equal(got.new_lengths.cpu(), expected.new_lengths)
        assert torch.equal(got.draws.token.cpu(), expected.draws.token)
        assert torch.equal(got.draws.rank.cpu(), expected.draws.rank)
        got, expected = got.sequences, expected.sequences
    assert torch.equal(got.cpu(), expected)


@pytest.mark.parametrize(
    "options", [{}, {"cuda_graph": True}, {"cuda_graph": True, "look_every": 1}]
)
def test_a_network(cuda, on_cuda, options):
    model = tiny("llama")
    expected = generate(model, PROMPTS, **OPTIONS)
    assert torch.equal(on_cuda(model.to(cuda.device), **OPTIONS, **options).cpu(), expected)


def test_a_bad_row(cuda, on_cuda):
    toy = Toy()
    for name, value in vars(toy).items():
        setattr(toy, name, cuda(value))

    def model(ids):
        logits = toy(ids)
        logits[1] = torch.nan if ids.shape[1] > 9 else logits[1]
        return logits

    with pytest.raises(onedraw.BadRowError, match="row 1 has a NaN"):
        on_cuda(model, max_new_tokens=20, seed=0)
