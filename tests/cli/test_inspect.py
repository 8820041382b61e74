"""`onedraw inspect`, in this process, with a tiny model."""

import json

import pytest
import torch

import onedraw

pytest.importorskip("typer")
pytest.importorskip("transformers")

PROMPT = "The man walked the cat"


def test_inspect(run, folder):
    status, out, _ = run("inspect", PROMPT, "--top", 4)
    assert status == 0
    assert out.splitlines()[0].split() == ["rank", "token", "probability", "cumulative"]
    assert len(out.splitlines()) == 5
    assert " %" in out

    from onedraw import models

    model, tokenizer = models.load(folder)
    with torch.inference_mode():
        logits = model(tokenizer(PROMPT, return_tensors="pt")["input_ids"]).logits[0, -1]
    p = logits.double().softmax(-1)
    record = json.loads(run("inspect", PROMPT, "--top", 4, "--json")[1])
    assert record["spec_version"] == onedraw.SPEC_VERSION
    for token, (share, index) in zip(record["tokens"], zip(*p.topk(4), strict=True), strict=True):
        assert token["id"] == index
        assert token["probability"] == pytest.approx(float(share), rel=1e-5)
        assert token["kept"]
        assert token["drawn"] == pytest.approx(token["probability"])


def test_inspect_says_which_filter_cut(run):
    words = ("inspect", PROMPT, "--top", 30, "--top-k", 20, "--top-p", 0.6)
    record = json.loads(run(*words, "--json")[1])
    reasons = [token["cut_by"] for token in record["tokens"]]
    kept = reasons.count(None)
    assert 0 < kept < 20
    assert reasons == [None] * kept + ["top_p"] * (20 - kept) + ["top_k"] * 10
    assert record["num_kept"] == kept
    assert [cut["left"] for cut in record["cuts"]] == [20, kept]
    assert sum(token["drawn"] for token in record["tokens"]) == pytest.approx(1, rel=1e-5)
    out = run(*words)[1]
    assert "cut by top-p" in out
    assert f"{kept} tokens kept" in out


def test_inspect_greedy(run):
    out = run("inspect", PROMPT, "--greedy", "--top", 3)[1]
    assert out.count("cut by greedy") == 2
    share = " ".join(out.splitlines()[1].split()[2:4])  # of the first token, as the table has it
    assert share != "100.0 %"
    assert f"1 token kept, with {share} of the probability" in out


def test_inspect_shows_no_more_tokens_than_there_are():
    from onedraw.cli.look import look

    row = torch.tensor([-torch.inf, 1.0, -torch.inf, -300.0, 2.0])
    for settings in ({}, {"top_k": 1}, {"temperature": 0}):
        assert [token.id for token in look(row, settings, 5, str).tokens] == [4, 1, 3]


def test_inspect_of_logits_that_cannot_be_drawn_from(run, monkeypatch):
    from onedraw.cli.language import Language

    monkeypatch.setattr(Language, "next_logits", lambda self, text: torch.full((5,), torch.nan))
    status, out, err = run("inspect", "a", "--top", 3)
    assert (status, out, err.count("\n")) == (1, "", 1)
    assert "has a NaN" in err


@pytest.mark.parametrize("suffix", ["png", "svg"])
def test_inspect_plot(run, tmp_path, suffix):
    pytest.importorskip("matplotlib")
    picture = tmp_path / f"next.{suffix}"
    status, out, _ = run("inspect", PROMPT, "--top-k", 4, "--plot", picture)
    assert status == 0
    assert "rank" in out
    assert picture.stat().st_size > 5000


def test_inspect_mistakes(run, tmp_path):
    pytest.importorskip("matplotlib")
    assert run("inspect", PROMPT, "--top", 0)[0] == 2
    assert run("inspect", PROMPT, "--top", 99999)[0] == 2
    assert run("inspect", PROMPT, "--plot", tmp_path / "absent" / "a.png")[0] == 2
    assert run("inspect", PROMPT, "--plot", tmp_path / "a.nonsense")[0] == 2
