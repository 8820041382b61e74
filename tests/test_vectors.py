"""The frozen vectors on every kernel: an answer that has been given is never taken back."""

import numpy as np
import pytest
import torch

import frozen
import onedraw
import oracle
from answers import ask_oracle, for_onedraw, same

FILE = frozen.load()
ROWS = FILE["rows"]
of_logits = [i for i, entry in enumerate(ROWS) if "logits" in entry]
of_weights = [i for i, entry in enumerate(ROWS) if "weights" in entry]


def floats_same(got: torch.Tensor, expected: str) -> bool:
    values = np.atleast_1d(got.numpy()).tolist()
    return all(map(same, values, frozen.from_hex(expected).tolist()))


@pytest.mark.parametrize("index", of_logits)
def test_row(kernel, index):
    entry = ROWS[index]
    options, answer = for_onedraw(frozen.options_of(entry)), entry["answer"]
    x = torch.from_numpy(frozen.row_of(entry))
    top = len(answer.get("top_tokens", []))
    draw = onedraw.draw(x, **options, report="all", top_logprobs=top, raise_on_bad=False)
    assert draw.status.item() == answer["status"]
    assert draw.token.item() == answer["tokens"][0]
    if answer["status"] != oracle.OK:
        return
    assert draw.rank.item() == answer["rank"]
    assert draw.num_kept.item() == answer["num_kept"]
    assert draw.top_tokens.tolist() == answer["top_tokens"]
    for name in (*frozen.FLOATS, "top_logprobs"):
        assert floats_same(getattr(draw, name), answer[name]), name
    for name in ("seed", "stream", "position"):
        del options[name]
    kept = onedraw.kept_mask(x, **options).nonzero().flatten()
    assert frozen.digest(kept.numpy(), "<i8") == answer["kept"]
    assert frozen.digest(onedraw.probs(x, **options).numpy(), "<f4") == answer["probs"]


@pytest.mark.parametrize("index", of_weights)
def test_samples(kernel, index):
    entry = ROWS[index]
    weights, options = torch.from_numpy(frozen.row_of(entry)), entry["options"]
    if entry["answer"]["status"] == oracle.OK:
        assert onedraw.multinomial(weights, **options).tolist() == entry["answer"]["tokens"]
    else:
        with pytest.raises(ValueError):
            onedraw.multinomial(weights, **options)


def test_the_file_is_of_this_version():
    assert FILE["spec_version"] == onedraw.SPEC_VERSION
    assert len(ROWS) > 250
    assert {entry["answer"]["status"] for entry in ROWS} == {0, 1, 2, 3, 4}
    assert frozen.FILE.stat().st_size < 300_000


def test_the_oracle_answers_so():
    """The small rows asked again; the large ones were, when the file was made."""
    for entry in ROWS:
        x, options = torch.from_numpy(frozen.row_of(entry)), frozen.options_of(entry)
        if len(x) <= 200:
            top = len(entry["answer"].get("top_tokens", []))
            answer = ask_oracle(x, options, top=top, weights="weights" in entry)
            assert frozen.answer_of(answer) == entry["answer"]
