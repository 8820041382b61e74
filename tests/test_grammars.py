"""The bitmasks of xgrammar and llguidance: what docs/grammars.md has, on the default model."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch

import onedraw
import onedraw.models

PAGE = Path(__file__).resolve().parent.parent / "docs" / "grammars.md"
PROMPT = "A person as JSON:"
SCHEMA = json.dumps(
    {
        "type": "object",
        "properties": {
            "name": {"type": "string", "maxLength": 12},
            "age": {"type": "integer", "minimum": 0, "maximum": 120},
            "pets": {"type": "array", "items": {"enum": ["cat", "dog"]}, "maxItems": 2},
        },
        "required": ["name", "age", "pets"],
        "additionalProperties": False,
    }
)
SETTINGS: dict[str, Any] = {"temperature": 1.2, "top_p": 0.95}

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not PAGE.exists(), reason="the tests run outside the repository"),
]


@pytest.fixture(scope="module")
def loaded() -> tuple[Any, Any]:
    return onedraw.models.load()


def functions(library: str) -> dict[str, Any]:
    """What the page's section on a library defines."""
    section = PAGE.read_text(encoding="utf-8").split(f"\n## {library}\n")[1]
    source = re.findall(r"^```python\n(.*?)^```", section, re.MULTILINE | re.DOTALL)[0]
    names: dict[str, Any] = {"onedraw": onedraw}
    exec(compile(source, str(PAGE), "exec"), names)
    return names


@pytest.mark.parametrize("library", ["xgrammar", "llguidance"])
def test_valid_json(library, loaded):
    """At a high temperature, of several seeds; without the mask none of it is JSON."""
    pytest.importorskip(library)
    write, texts = functions(library)["write"], []
    for seed in (0, 1, 0):
        with torch.inference_mode():
            texts.append(write(*loaded, PROMPT, SCHEMA, seed=seed, **SETTINGS))
        person = json.loads(texts[-1])
        assert list(person) == ["name", "age", "pets"]
        assert 0 <= person["age"] <= 120
        assert set(person["pets"]) <= {"cat", "dog"}
    assert texts[0] == texts[2] != texts[1]


@pytest.mark.parametrize("library", ["xgrammar", "llguidance"])
def test_a_mask_is_what_it_says(library, loaded):
    """The first token drawn is one that the bitmask has, and top-k 1 the likeliest of these."""
    pytest.importorskip(library)
    model, tokenizer = loaded
    names, vocab = functions(library), model.config.vocab_size
    matcher, allowed = names["grammar"](tokenizer, vocab, SCHEMA)
    if library == "xgrammar":
        matcher.fill_next_token_bitmask(allowed)
    else:
        names["llguidance"].torch.fill_next_token_bitmask(matcher, allowed)
    ids = tokenizer(PROMPT, return_tensors="pt").input_ids
    with torch.inference_mode():
        logits = model(ids).logits[:, -1]
    bits = (allowed[:, torch.arange(vocab) // 32] >> (torch.arange(vocab) % 32)) & 1 != 0
    assert 0 < int(bits.sum()) < vocab
    likeliest = logits.masked_fill(~bits, -torch.inf).argmax(-1)
    assert not bool(bits[0, logits.argmax(-1)])  # the model alone would not begin so
    assert torch.equal(onedraw.sample(logits, allowed=allowed, top_k=1), likeliest)
    kept = onedraw.kept_mask(logits, allowed=allowed)
    assert torch.equal(kept, bits)
