"""The loops of docs/loops.md: what stands there runs, before and after alike."""

import importlib.util
import inspect
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

import onedraw

PAGE = Path(__file__).resolve().parent.parent / "docs" / "loops.md"
VOCAB, NEW = 12, 6
TABLE = 2 * torch.randn(VOCAB, VOCAB, generator=torch.Generator().manual_seed(0))
PROMPT = torch.tensor([[3, 1, 4]])

pytestmark = pytest.mark.skipif(not PAGE.exists(), reason="the tests run outside the repository")


class Pairs:
    """A bigram model as nanoGPT has it: logits and a loss."""

    block_size = 4

    def __call__(self, tokens: Tensor) -> tuple[Tensor, None]:
        assert tokens.shape[1] <= self.block_size
        return TABLE[tokens], None


def with_cache(tokens: Tensor, input_pos: Tensor) -> Tensor:
    """A bigram model as LitGPT and gpt-fast call it."""
    assert tokens.shape[1:] == input_pos.shape
    return TABLE[tokens]


MODELS: dict[str, Any] = {
    "nanoGPT": Pairs(),
    "minGPT": Pairs(),
    "The classic exercise": lambda tokens: TABLE[tokens],
    "A static cache and `input_pos`, as in LitGPT": with_cache,
    "A compiled step, as in gpt-fast": with_cache,
}
SETTINGS = {"do_sample": True, "backend": "eager"}  # as far as a loop takes them


def blocks() -> dict[str, list[str]]:
    """The Python of each section of the page, by its title."""
    found = {}
    for part in PAGE.read_text(encoding="utf-8").split("\n## ")[1:]:
        title, _, body = part.partition("\n")
        found[title] = re.findall(r"^```python\n(.*?)^```", body, re.MULTILINE | re.DOTALL)
    return found


def function(source: str, name: str = "generate") -> Callable[..., Any]:
    names: dict[str, Any] = {"torch": torch, "F": functional, "onedraw": onedraw, "np": np}
    exec(compile(source, str(PAGE), "exec"), names)
    made: Callable[..., Any] = names[name]
    return made


def write(title: str, source: str, **settings: Any) -> Tensor:
    """int64 [1, T + NEW]: what a loop writes, with those of the settings that it takes."""
    loop = function(source)
    names = inspect.signature(loop).parameters
    open_ended = any(p.kind is p.VAR_KEYWORD for p in names.values())
    given = {**SETTINGS, **settings}
    given = {k: v for k, v in given.items() if k in names or (open_ended and k == "backend")}
    prompt = PROMPT[0] if "prompt.size(0)" in source else PROMPT
    return loop(MODELS[title], prompt, NEW, **given).view(1, -1)


def test_each_loop_has_a_model():
    several = {title for title, sources in blocks().items() if len(sources) > 1}
    assert several == set(MODELS)


@pytest.mark.parametrize("title", MODELS)
def test_before_and_after(title):
    """Both go on from the prompt; k = 1 leaves one token, so that both write the same."""
    greedy = PROMPT
    for _ in range(NEW):
        greedy = torch.cat([greedy, TABLE[greedy[:, -1]].argmax(-1, keepdim=True)], dim=1)
    for source in blocks()[title]:
        text = write(title, source)
        assert text.shape == (1, 3 + NEW)
        assert torch.equal(text[:, :3], PROMPT)
        if "top_k" in source:
            assert torch.equal(write(title, source, top_k=1).long(), greedy)


@pytest.mark.parametrize("title", MODELS)
def test_a_loop_is_changed_by_less_than_it_was_long(title):
    before, after, *_ = (source.splitlines() for source in blocks()[title])
    assert len(after) <= len(before)
    assert any("onedraw" in line for line in after)
    assert not any("onedraw" in line for line in before)


@pytest.mark.parametrize("title", MODELS)
def test_the_tokens_drawn_have_their_rates(title):
    """The token behind the prompt, drawn 2,000 times: within five standard deviations of its rate."""
    expected = TABLE[PROMPT[0, -1]].softmax(-1).double()
    for source in blocks()[title]:
        if "torch.compile" in source:
            continue  # a Sampler with the seed that stands there writes one text
        torch.manual_seed(0)
        loop, prompt = function(source), PROMPT.repeat(2000, 1)
        if "prompt.size(0)" in source:
            draws = torch.cat([loop(with_cache, PROMPT[0], 1)[-1:] for _ in range(2000)])
        else:
            names = inspect.signature(loop).parameters
            given = {"do_sample": True} if "do_sample" in names else {}
            draws = loop(MODELS[title], prompt, 1, **given)[:, -1]
        rates = torch.bincount(draws, minlength=VOCAB) / 2000
        error = (expected * (1 - expected) / 2000).sqrt()
        assert ((rates - expected).abs() <= 5 * error).all()


def test_arrays_of_numpy():
    (source,) = blocks()["NumPy, JAX and CuPy"]
    logits = TABLE.numpy()
    tokens = function(source, "next_tokens")(logits, top_k=1)
    assert isinstance(tokens, np.ndarray)
    assert tokens.tolist() == logits.argmax(-1).tolist()


JAX = """
import jax, torch, onedraw
table = 2 * torch.randn(12, 12, generator=torch.Generator().manual_seed(0))
logits = jax.numpy.asarray(table.numpy())
settings = {"top_p": 0.8, "seed": 3, "position": 1}
tokens = onedraw.sample(logits, **settings)
assert torch.equal(tokens, onedraw.sample(table, **settings)), tokens
back = jax.dlpack.from_dlpack(onedraw.sample(logits, top_k=1).to(torch.int32))
assert back.tolist() == table.argmax(-1).tolist(), back
print("equal", len(back))
"""


def test_arrays_of_jax():
    """In a process of its own: JAX has threads, and other tests fork."""
    if importlib.util.find_spec("jax") is None:
        pytest.skip("JAX is not installed")
    run = subprocess.run([sys.executable, "-c", JAX], capture_output=True, text=True)
    assert run.stdout == "equal 12\n", run.stderr
