"""Nothing here waits for a device: run on fake CUDA tensors, where a value asked for is an error."""

import pytest
import torch
from networks import VOCAB
from torch._subclasses.fake_tensor import DataDependentOutputException, unset_fake_temporarily
from transformers import (
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

import onedraw
from fake_cuda import fake_cuda
from onedraw.hf.drawing import DrawingProcessors
from onedraw.hf.fast import Keeping
from onedraw.hf.rows import Keys, positions

ROWS, PROMPT = 3, 6


def key():
    with unset_fake_temporarily():
        return Keys(onedraw.seeds(0, range(ROWS)), torch.zeros(ROWS, dtype=torch.int64))


def steps(processors):
    ids = torch.ones(ROWS, PROMPT, dtype=torch.int64, device="cuda")
    for step in range(4):
        scores = processors(ids[:, : PROMPT + step], torch.randn(ROWS, VOCAB, device="cuda"))
        assert scores.is_cuda
        token = getattr(processors, "next_tokens", scores.argmax(-1))
        ids = torch.cat([ids, token[:, None]], dim=1)


def drawing(scores=False, before=()):
    """What a `generate` begins with; numbers for the rows are made, and checked, on the host."""
    warpers = [TemperatureLogitsWarper(0.8), TopKLogitsWarper(9), TopPLogitsWarper(0.9)]
    with unset_fake_temporarily():
        noise = key()
        return DrawingProcessors(
            [*before, *warpers],
            scores=scores,
            fallback=None,
            seed=noise.seed,
            stream=noise.stream,
            position=PROMPT,
        )


@pytest.mark.parametrize("scores", [False, True])
def test_the_patched_loop(scores):
    with fake_cuda(), torch.no_grad():
        steps(drawing(scores))


def test_what_the_fast_loop_does_before_a_draw():
    """The loop itself is run in tests/generate/test_no_waiting.py."""
    with fake_cuda(), torch.no_grad():
        processors = drawing(True, [RepetitionPenaltyLogitsProcessor(1.2)])
        keeping = Keeping(processors, scores=True, logits=True)
        ids = torch.ones(ROWS, PROMPT, dtype=torch.int64, device="cuda")
        for _ in range(3):
            logits = torch.randn(ROWS, VOCAB, device="cuda", dtype=torch.bfloat16)
            processors.sampler(keeping(ids, logits))
        assert len(keeping.scores) == len(keeping.logits) == 3
        assert all(scores.is_cuda for scores in keeping.scores + keeping.logits)


def test_one_draw(monkeypatch):
    from onedraw.hf import processor

    monkeypatch.setattr(processor, "keys", lambda *_: key())
    with fake_cuda(), torch.no_grad():
        steps(onedraw.hf.OneDraw(0.8, 9, 0.9, seed=1))


def test_the_lengths_of_prompts():
    drawer = onedraw.hf.OneDraw()
    with fake_cuda():
        lengths = positions(torch.ones(ROWS, PROMPT, dtype=torch.int64, device="cuda"))
        assert lengths.is_cuda
        drawer._padded = lengths, PROMPT
        position = drawer._position(2 * ROWS, PROMPT)
        assert position.is_cuda
        assert position.shape == (2 * ROWS,)


def test_a_look_at_a_value_is_caught():
    def curious(ids, scores):
        return scores if scores.max().item() else -scores

    with fake_cuda(), torch.no_grad(), pytest.raises(DataDependentOutputException):
        steps(drawing(before=[curious]))
