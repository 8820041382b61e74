"""onedraw.llama_cpp: the sampler by itself and in chains, on candidates that are made up."""

import ctypes
import gc
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

import onedraw

llama_cpp = pytest.importorskip("llama_cpp", reason="llama-cpp-python is not installed")
import onedraw.llama_cpp  # noqa: E402
from llama_arrays import Array, new_chain  # noqa: E402
from onedraw.llama_cpp import interface  # noqa: E402

SETTINGS: list[dict[str, Any]] = [
    {},
    {"temperature": 0},
    {"temperature": 0.7, "top_k": 50, "top_p": 0.9},
    {"temperature": 1.5, "min_p": 0.05, "stream": 3},
    {"temperature": 5.0, "top_k": 20, "ties": "keep"},
]


def row(vocab: int = 3000, seed: int = 0) -> Tensor:
    """float32 [V], whole numbers, so that there are ties."""
    return (3 * torch.randn(vocab, generator=torch.Generator().manual_seed(seed))).round()


@pytest.fixture
def freed() -> Iterator[list[Any]]:
    """Samplers and chains to be freed at the end, after which nothing of ours may be left."""
    gc.collect()
    before, pointers = len(interface._drawings), []
    yield pointers
    for pointer in pointers:
        llama_cpp.llama_sampler_free(pointer)
    gc.collect()
    assert len(interface._drawings) == before


@pytest.mark.parametrize("settings", SETTINGS)
@pytest.mark.parametrize("order", ["all", "shuffled", "some", "sorted", "one"])
def test_the_token_is_that_of_sample(settings, order, freed):
    """Whatever order the candidates have; those that llama.cpp has taken out are not drawn."""
    made = onedraw.llama_cpp.sampler(**settings, seed=5) if settings else None
    made = made or onedraw.llama_cpp.sampler(onedraw.SamplingParams(seed=5))
    freed.append(made.pointer)
    for step in range(8):
        logits = row(seed=step)
        ids = {
            "all": None,
            "shuffled": torch.randperm(3000, generator=torch.Generator().manual_seed(step)),
            "some": torch.randperm(3000, generator=torch.Generator().manual_seed(step))[:300],
            "sorted": logits.argsort(descending=True)[:40],
            "one": [1234],
        }[order]
        allowed = torch.ones(3000, dtype=torch.bool)
        if ids is not None:
            allowed = torch.zeros(3000, dtype=torch.bool).scatter_(0, torch.as_tensor(ids), True)
        expected = onedraw.sample(logits, **settings, seed=5, position=step, allowed=allowed)
        token = Array(logits, ids).drawn(made.pointer)
        assert token == expected
        assert made.position == step  # it is accepted that counts
        llama_cpp.llama_sampler_accept(made.pointer, token)
    made.check()


def test_samplers_before_it(freed):
    """top-k of llama.cpp, which sorts; then ours, by llama.cpp's logits of what is left."""
    ours = onedraw.llama_cpp.sampler(temperature=0.9, top_p=0.8, seed=1)
    chain = new_chain(
        llama_cpp.llama_sampler_init_top_k(25), llama_cpp.llama_sampler_init_temp(2.0), ours.pointer
    )
    freed.append(chain)
    assert llama_cpp.llama_sampler_name(ours.pointer) == b"onedraw"
    logits = torch.randn(3000, generator=torch.Generator().manual_seed(9))  # without ties
    allowed = torch.zeros(3000, dtype=torch.bool).scatter_(0, logits.topk(25).indices, True)
    for step in range(20):
        settings = {"temperature": 0.9, "top_p": 0.8, "seed": 1, "position": step}
        token = Array(logits).drawn(chain)
        assert token == onedraw.sample(logits / 2, **settings, allowed=allowed)
        llama_cpp.llama_sampler_accept(chain, token)


def test_accept_reset_clone_and_copy(freed):
    logits, settings = row(), {"temperature": 1.3, "seed": 11}
    expected = [int(onedraw.sample(logits, **settings, position=p)) for p in range(20)]
    ours = onedraw.llama_cpp.sampler(**settings, position=4)
    chain = new_chain(ours.pointer)
    freed.append(chain)

    def writes(pointer: Any, tokens: int) -> list[int]:
        text = []
        for _ in range(tokens):
            text.append(Array(logits).drawn(pointer))
            llama_cpp.llama_sampler_accept(pointer, text[-1])
        return text

    assert writes(chain, 3) == expected[4:7]
    clone = llama_cpp.llama_sampler_clone(chain)
    freed.append(clone)
    assert writes(clone, 5) == expected[7:12]  # by itself: the first has not moved
    assert ours.position == 7
    assert writes(chain, 2) == expected[7:9]
    llama_cpp.llama_sampler_copy(clone, chain)
    assert writes(chain, 2) == expected[12:14]
    assert ours.position == 14
    assert writes(clone, 2) == expected[12:14]
    llama_cpp.llama_sampler_reset(chain)
    assert writes(chain, 3) == expected[4:7]
    assert writes(clone, 2) == expected[14:16]
    llama_cpp.llama_sampler_reset(clone)
    assert writes(clone, 2) == expected[4:6]
    ours.reset(position=1)
    assert writes(chain, 3) == expected[1:4]
    ours.position = 10
    assert writes(chain, 1) == expected[10:11]


def test_without_a_seed_torch_gives_one(freed):
    """One a text: a clone goes on with it, and `reset` takes another."""
    logits, ours = row(), onedraw.llama_cpp.sampler()
    freed.append(ours.pointer)

    def drawn(pointer: Any, start: int) -> list[int]:
        text = []
        for _ in range(start, start + 6):
            text.append(Array(logits).drawn(pointer))
            llama_cpp.llama_sampler_accept(pointer, text[-1])
        return text

    torch.manual_seed(3)
    clone = llama_cpp.llama_sampler_clone(ours.pointer)
    freed.append(clone)
    first = drawn(ours.pointer, 0)
    assert drawn(clone, 0) == first
    ours.reset()
    second = drawn(ours.pointer, 0)
    assert second != first
    torch.manual_seed(3)
    ours.reset()
    assert drawn(ours.pointer, 0) == first
    before = torch.get_rng_state()
    greedy = onedraw.llama_cpp.sampler(temperature=0)
    freed.append(greedy.pointer)
    assert Array(logits).drawn(greedy.pointer) == int(logits.argmax())
    assert torch.equal(torch.get_rng_state(), before)


def test_errors_do_not_vanish(freed, monkeypatch):
    """In a chain of one's own: Python reports them at once, and `check` raises the first, once."""
    reported: list[Any] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda args: reported.append(args.exc_value))
    ours = onedraw.llama_cpp.sampler(seed=1)
    freed.append(ours.pointer)
    nan, empty = row(), torch.full((100,), -torch.inf)
    nan[7] = torch.nan
    empty_but = empty.clone()
    empty_but[[60, 61]] = torch.nan
    assert Array(nan).drawn(ours.pointer) == 0
    assert Array(empty).drawn(ours.pointer) == 0
    assert Array(empty_but).drawn(ours.pointer) == 60
    assert [str(e) for e in reported] == [
        "row 0 has a NaN",
        "row 0 has no token left (all are -inf, of weight 0, or not allowed)",
        "row 0 has a NaN",
    ]
    with pytest.raises(onedraw.BadRowError, match="row 0 has a NaN"):
        ours.check()
    ours.check()

    wrong = Array(row(), [4, 5, 6])
    wrong.data[1].id = -1
    wrong.drawn(ours.pointer)
    with pytest.raises(ValueError, match=r"tokens must be in \[0, 2\^22 - 1\]"):
        ours.check()
    none = Array(row(), [])
    llama_cpp.llama_sampler_apply(ours.pointer, ctypes.byref(none.array))
    assert none.array.selected == -1
    with pytest.raises(ValueError, match="no candidates"):
        ours.check()
    ours.position = 2**32 - 1
    token = Array(row()).drawn(ours.pointer)
    ours.check()
    llama_cpp.llama_sampler_accept(ours.pointer, token)
    Array(row()).drawn(ours.pointer)
    with pytest.raises(ValueError, match=r"position must be in \[0, 2\^32 - 1\]"):
        ours.check()
    ours.reset()
    assert Array(row()).drawn(ours.pointer) == onedraw.sample(row(), seed=1, position=0)
    ours.check()


def test_what_the_user_types(freed):
    make = onedraw.llama_cpp.sampler
    with pytest.raises(ValueError, match="top_p must be in"):
        make(top_p=1.5)
    with pytest.raises(ValueError, match="position must be an integer in"):
        make(position=-1)
    with pytest.raises(ValueError, match="seed must be given with stream"):
        make(stream=1)
    with pytest.raises(TypeError, match="params must be a SamplingParams"):
        make([onedraw.SamplingParams()])
    with pytest.raises(TypeError, match="top_k must be an integer"):
        make(top_k=[1, 2])
    with pytest.raises(TypeError, match=r"llm must be a llama_cpp\.Llama"):
        make().attach("model.gguf")
    ours = make(onedraw.SamplingParams(temperature=0, seed=1), temperature=2.0)
    freed.append(ours.pointer)  # the keyword wins
    drawn = {Array(row(seed=0)).drawn(ours.pointer)}
    assert drawn == {int(onedraw.sample(row(), temperature=2.0, seed=1, position=0))}
    ours.position = 9
    with pytest.raises(ValueError, match="position must be"):
        ours.position = 2**32
    assert ours.position == 9


def test_a_sampler_that_was_freed():
    """By its chain: its pointer leads nowhere, which is an error and not a crash."""
    ours = onedraw.llama_cpp.sampler(seed=1)
    llama_cpp.llama_sampler_free(new_chain(ours.pointer))
    with pytest.raises(ValueError, match=r"llama\.cpp has freed this sampler"):
        _ = ours.pointer
    ours.check()


ENDS = """
import ctypes, gc, sys, llama_cpp, onedraw.llama_cpp
from llama_cpp._internals import LlamaSampler
chain, ours = LlamaSampler(), onedraw.llama_cpp.sampler(seed=1)
llama_cpp.llama_sampler_chain_add(chain.sampler, ours.pointer)
clone = chain.clone()
del onedraw.llama_cpp, ours
for name in [name for name in sys.modules if name.startswith("onedraw.llama_cpp")]:
    del sys.modules[name]
gc.collect()
data = (llama_cpp.llama_token_data * 2)((0, -99.0, 0.0), (1, 1.0, 0.0))
array = llama_cpp.llama_token_data_array(data=data, size=2, selected=-1, sorted=False)
llama_cpp.llama_sampler_apply(clone.sampler, ctypes.byref(array))
print(array.selected)
"""


def test_the_package_and_the_interpreter_end_before_the_chain():
    run = subprocess.run([sys.executable, "-c", ENDS], capture_output=True, text=True)
    assert (run.returncode, run.stdout, run.stderr) == (0, "1\n", "")
