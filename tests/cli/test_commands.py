"""The commands, in this process, with a tiny model."""

import io
import json
import sys

import pytest

import onedraw
from onedraw.__main__ import main

pytest.importorskip("typer")
pytest.importorskip("transformers")

PROMPT = "The man walked the cat"


def records(out):
    return [json.loads(line) for line in out.split("\n") if line]


@pytest.mark.parametrize("command", ["generate", "inspect", "bench", "info"])
def test_help(run, command):
    status, out, _ = run(command, "--help")
    assert status == 0
    examples = f"\n    onedraw {command} "  # as they are typed, each on its line
    assert command == "info" or examples in out


def test_the_list_of_commands(run):
    for words in (["--help"], ["-h"]):
        status, out, _ = run(*words)
        assert status == 0
        assert all(command in out for command in ("generate", "inspect", "bench", "info"))


def test_no_or_an_unknown_command_is_a_usage_error(run):
    assert main([]) == 2
    assert run("sing")[0] == 2
    assert run("generate", "a", "--loud")[0] == 2


def test_version(run):
    status, out, _ = run("--version")
    assert status == 0
    assert out == f"onedraw {onedraw.__version__}, specification {onedraw.SPEC_VERSION}\n"


def test_generate_writes_text_and_one_line_on_stderr(run):
    status, out, err = run("generate", PROMPT, "--seed", 7, "--max-new-tokens", 12)
    assert status == 0
    assert out.startswith(PROMPT)
    assert len(out) > len(PROMPT) + 1
    assert err.count("\n") == 1
    for word in ("12 tokens,", "tokens/s,", "us a token spent sampling,", "seed 7"):
        assert word in err


def test_the_seed_decides(run):
    words = ("generate", PROMPT, "--max-new-tokens", 12)
    first, again, other = (run(*words, "--seed", seed)[1] for seed in (7, 7, 8))
    assert first == again != other


def test_without_a_seed_one_is_made_and_told(run):
    words = ("generate", PROMPT, "--max-new-tokens", 8)
    _, out, err = run(*words)
    seed = err.rpartition(" ")[2].strip()
    assert run(*words, "--seed", seed)[1] == out


def test_streamed_and_recorded_text_are_the_same(run):
    words = ("generate", PROMPT, "--seed", 3, "--max-new-tokens", 40)
    streamed = run(*words, "--no-echo")[1]
    (record,) = records(run(*words, "--json")[1])
    assert record["text"] + "\n" == streamed
    assert record["prompt"] == PROMPT
    assert record["num_tokens"] == 40
    assert record["finish_reason"] == "length"
    assert record["seed"] == 3
    assert record["spec_version"] == onedraw.SPEC_VERSION


def test_greedy(run):
    _, out, err = run("generate", PROMPT, "--greedy", "--max-new-tokens", 8)
    assert run("generate", PROMPT, "--temperature", 0, "--max-new-tokens", 8)[1] == out
    assert "greedy" in err


def test_several_samples(run):
    words = ("generate", PROMPT, "--num", 3, "--seed", 1, "--max-new-tokens", 6)
    _, out, _ = run(*words)
    assert [f"--- {i} of 3" in out for i in (1, 2, 3)] == [True] * 3
    rows = records(run(*words, "--json")[1])
    assert [row["sample"] for row in rows] == [0, 1, 2]
    assert len({row["text"] for row in rows}) == 3
    single = records(run("generate", PROMPT, "--seed", 1, "--max-new-tokens", 6, "--json")[1])
    assert single[0]["text"] == rows[0]["text"]


def test_details(run):
    words = ("generate", PROMPT, "--seed", 1, "--max-new-tokens", 5, "--top-k", 9, "--details")
    _, out, _ = run(*words)
    assert "probability" in out
    assert "entropy" in out
    (row,) = records(run(*words, "--json")[1])
    assert len(row["tokens"]) == 5
    for token in row["tokens"]:
        assert token["num_kept"] == 9
        assert 1 <= token["rank"] <= 9
        assert len(token["top_tokens"]) == 5
    assert "".join(token["text"] for token in row["tokens"]) == row["text"]


def test_standard_input_is_one_prompt(run, monkeypatch):
    for words in ([], ["-"]):
        monkeypatch.setattr(sys, "stdin", io.StringIO("two\nlines\n"))
        status, out, _ = run("generate", *words, "--seed", 1, "--max-new-tokens", 3)
        assert status == 0
        assert out.startswith("two\nlines")


@pytest.mark.parametrize("command", ["generate", "inspect"])
@pytest.mark.parametrize("errors", ["strict", "surrogateescape"])
def test_bytes_that_are_no_text(run, monkeypatch, command, errors):
    given = [[], ["-"], ["a\udcff"]]
    given += [["--file", "-"], ["a", "--stop", "\udcff"]] if command == "generate" else []
    for words in given:
        piped = io.TextIOWrapper(io.BytesIO(b"a\xff\n"), encoding="utf-8", errors=errors)
        monkeypatch.setattr(sys, "stdin", piped)
        status, out, err = run(command, *words)
        assert (status, out, err.count("\n")) == (2, "", 1)
        assert "not UTF-8 text" in err


def test_standard_input_that_cannot_be_read(run, monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "stdin", None)  # as Python finds it where it is closed
    for words in ([], ["-"], ["--file", "-"]):
        status, out, err = run("generate", *words)
        assert (status, out, err.count("\n")) == (2, "", 1)

    def read(*_):
        raise IsADirectoryError(21, "Is a directory")

    folder = io.StringIO("")
    monkeypatch.setattr(folder, "read", read)
    monkeypatch.setattr(sys, "stdin", folder)
    status, _, err = run("generate")
    assert status == 2
    assert "cannot read the prompt in standard input: Is a directory" in err


def test_a_terminal_without_a_prompt_is_a_usage_error(run, monkeypatch):
    terminal = io.StringIO("")
    monkeypatch.setattr(terminal, "isatty", lambda: True)
    monkeypatch.setattr(sys, "stdin", terminal)
    status, _, err = run("generate")
    assert status == 2
    assert "give a prompt" in err


def test_a_file_of_prompts(run, tmp_path):
    prompts = tmp_path / "prompts.txt"
    prompts.write_text("one\n\ntwo words\nthree\n", encoding="utf-8")
    words = ("generate", "--file", prompts, "--seed", 5, "--max-new-tokens", 6)
    status, out, _ = run(*words)
    rows = records(out)
    assert status == 0
    assert [row["prompt"] for row in rows] == ["one", "two words", "three"]
    one_by_one = records(run(*words, "--batch-size", 1)[1])
    assert [row["text"] for row in one_by_one] == [row["text"] for row in rows]
    assert len(records(run(*words, "--num", 2)[1])) == 6


def test_a_file_of_json_lines(run, tmp_path):
    lines = [
        {"prompt": PROMPT, "id": "a", "temperature": 0},
        {"prompt": PROMPT, "seed": 9},
        {"prompt": PROMPT, "id": 3, "top_k": 1},
    ]
    prompts = tmp_path / "prompts.jsonl"
    prompts.write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    rows = records(run("generate", "--file", prompts, "--max-new-tokens", 6)[1])
    assert [row.get("id") for row in rows] == ["a", None, 3]
    assert rows[0]["text"] == rows[2]["text"]
    alone = records(run("generate", PROMPT, "--seed", 9, "--max-new-tokens", 6, "--json")[1])
    assert rows[1]["text"] == alone[0]["text"]
    assert rows[1]["seed"] == 9


def test_a_line_ends_at_a_line_feed_only(run, tmp_path):
    prompts = tmp_path / "prompts.txt"
    prompts.write_text("one\u2028two\r\nthree\n", encoding="utf-8")
    rows = records(run("generate", "--file", prompts, "--max-new-tokens", 1)[1])
    assert len(rows) == 2
    lines = [json.dumps({"prompt": "a\x85b\u2028c"}, ensure_ascii=False)] * 2
    prompts.write_text("\n".join(lines), encoding="utf-8")
    rows = records(run("generate", "--file", prompts, "--max-new-tokens", 1)[1])
    assert [row["prompt"] for row in rows] == ["a\x85b\u2028c"] * 2


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("", "no prompt"),
        ("\n \n", "no prompt"),
        ('{"prompt": "a"}\nrubbish\n', "line 2 is not JSON"),
        ('{"prompt": "a"}\n{"text": "b"}\n', "line 2 must be a JSON object"),
        ('{"prompt": "a", "top_q": 1}\n', "'top_q'"),
        ('{"prompt": "a"}\n{"prompt": "a", "top_p": 7}\n', "line 2: top_p must be in (0, 1]"),
        ('{"prompt": "a", "temperature": "hot"}\n', "line 1: temperature"),
        ('{"prompt": ""}\n', "the prompt is empty"),
        ('{"prompt": "a"}\n{"prompt": "\\ud800"}\n', "line 2 is not UTF-8 text"),
        ('{"prompt": "a", "id": "\\ud800"}\n', "line 1 is not UTF-8 text"),
    ],
)
def test_a_wrong_file(run, tmp_path, content, says):
    prompts = tmp_path / "prompts.jsonl"
    prompts.write_text(content, encoding="utf-8")
    status, out, err = run("generate", "--file", prompts)
    assert (status, out) == (2, "")
    assert says in err


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ([""], "prompt is empty"),
        (["a", "--temperature", "-1"], "temperature must be"),
        (["a", "--temperature", "nan"], "temperature must be"),
        (["a", "--top-k", "-2"], "top_k must be"),
        (["a", "--top-p", "1.5"], "top_p must be in (0, 1], got 1.5"),
        (["a", "--min-p", "2"], "min_p must be"),
        (["a", "--ties", "both"], "ties must be"),
        (["a", "--seed", "-99999999999999999999"], "seed"),
        (["a", "--greedy", "--temperature", "0.5"], "--greedy is temperature 0"),
        (["a", "--max-new-tokens", "-1"], "max_new_tokens must be"),
        (["a", "--max-new-tokens", "99999"], "context"),
        (["a", "--num", "0"], "--num"),
        (["a", "--file", "b"], "not both"),
        (["--file", "absent.txt"], "cannot read the prompts in absent.txt"),
        (["word " * 2000], "context"),
    ],
)
def test_a_mistake_is_one_sentence_and_status_2(run, words, says):
    status, out, err = run("generate", *words)
    assert (status, out) == (2, "")
    assert says in err


def test_a_model_that_is_not_there(capsys):
    assert main(["generate", "a", "--model", "no-such/model"]) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("\n") == 1
    assert "no-such/model" in said.err


def test_bench(run, monkeypatch):
    from onedraw.cli import contest

    monkeypatch.setattr(contest, "SIZES", ((1, 1000), (2, 1000)))
    status, out, _ = run("bench", "--seconds", 0.01)
    assert status == 0
    assert "onedraw / floor" in out
    assert [line.split()[:2] for line in out.splitlines() if "1,000" in line] == (
        [["1", "1,000"]] * len(contest.FILTERS) + [["2", "1,000"]] * len(contest.FILTERS)
    )
    rows = records(run("bench", "--seconds", 0.01, "--json")[1])
    assert len(rows) == 2 * len(contest.FILTERS)
    assert all(row["onedraw"] > 0 and row["floor"] > 0 for row in rows)
    assert {row["spec_version"] for row in rows} == {onedraw.SPEC_VERSION}


@pytest.mark.parametrize(("floor", "distrusted"), [(19.9, False), (20.1, True)])
def test_bench_says_when_a_floor_cannot_be_trusted(run, monkeypatch, floor, distrusted):
    from onedraw.cli import contest

    result = contest.Result(1, 1000, "greedy", floor, onedraw=10.0, torch=30.0, huggingface=None)
    monkeypatch.setattr(contest, "contest", lambda seconds: iter([result]))
    status, out, _ = run("bench")
    assert status == 0
    assert ("time it again" in out) is distrusted


def test_info(run):
    status, out, _ = run("info")
    assert status == 0
    assert "chosen" in out
    assert json.loads(run("info", "--json")[1])["kernels"]["chosen"]


@pytest.mark.parametrize("command", ["generate", "inspect"])
@pytest.mark.parametrize("device", ["cuda", "nonsense", "meta"])
def test_a_device_that_cannot_be_used(run, monkeypatch, command, device):
    from onedraw import _core

    def absent():
        raise RuntimeError("there is no driver\nand more")

    monkeypatch.setattr(_core, "cuda_device_count", absent)
    status, out, err = run(command, "a", "--device", device)
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert "--device must be cpu or a CUDA device" in err
    assert device != "cuda" or "there is no driver" in err


def test_the_cpu_by_name(run):
    assert run("generate", "a", "--device", "cpu", "--max-new-tokens", 2, "--seed", 1)[0] == 0
