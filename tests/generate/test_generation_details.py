"""The record of each token describes the very draw."""

import json

import pytest
import torch
from toys import VOCAB

import onedraw
from onedraw.generate import Generation, generate

PROMPTS = [[1, 2], [3, 4], [5, 6]]


def test_the_record_is_that_of_draw(toy):
    run = generate(
        toy,
        PROMPTS,
        max_new_tokens=6,
        temperature=0.8,
        top_k=9,
        seed=4,
        return_details=True,
        top_logprobs=3,
    )
    assert isinstance(run, Generation)
    assert torch.equal(
        run.sequences, generate(toy, PROMPTS, max_new_tokens=6, temperature=0.8, top_k=9, seed=4)
    )
    seeds = onedraw.seeds(4, range(3))
    for step in range(6):
        logits = toy(run.sequences[:, : 2 + step].contiguous())[:, -1]
        draw = onedraw.draw(
            logits,
            temperature=0.8,
            top_k=9,
            seed=seeds,
            position=2 + step,
            report="all",
            top_logprobs=3,
        )
        for name, field, expected in zip(draw._fields, run.draws, draw, strict=True):
            assert torch.equal(field[:, step], expected), name


def test_what_a_run_says_about_itself(toy):
    run = generate(
        toy,
        PROMPTS,
        max_new_tokens=4,
        top_p=0.9,
        seed=6,
        num_return_sequences=2,
        return_details=True,
    )
    assert run.prompt_lengths.tolist() == [2] * 6
    assert run.new_lengths.tolist() == [4] * 6
    assert run.finish_reasons == ["length"] * 6
    assert run.seed == 6
    assert run.spec_version == onedraw.SPEC_VERSION
    assert 0 < run.sampling_seconds < run.seconds
    seeds = onedraw.seeds(6, range(3)).tolist()
    assert [p.seed for p in run.params] == [s for s in seeds for _ in range(2)]
    assert [p.stream for p in run.params] == [0, 1] * 3
    assert {round(p.top_p, 6) for p in run.params} == {0.9}
    assert run.tokens(3) == run.sequences[3, 2:].tolist()


def test_behind_the_end_there_is_nothing(toy):
    run = generate(
        toy,
        [[i] for i in range(1, 13)],
        max_new_tokens=30,
        temperature=2.0,
        seed=0,
        eos_token_id=7,
        pad_token_id=0,
        return_details=True,
    )
    behind = torch.arange(run.sequences.shape[1] - 1) >= run.new_lengths.unsqueeze(1)
    assert behind.any()
    draws = run.draws
    assert torch.equal(draws.token, run.sequences[:, 1:])
    assert (draws.token[behind] == 0).all()
    assert draws.logprob[behind].isnan().all()
    assert (draws.rank[behind] == 0).all()
    assert not draws.logprob[~behind].isnan().any()
    assert (draws.rank[~behind] >= 1).all()


def test_records_are_json(toy):
    run = generate(toy, PROMPTS, max_new_tokens=3, top_k=2, seed=1, return_details=True)
    records = run.records(0)
    assert [record["token"] for record in records] == run.tokens(0)
    assert records == json.loads(json.dumps(records, allow_nan=False))
    assert records[0]["top_logprobs"][2:] == [None] * 3
    assert records[0]["num_kept"] == 2


def test_only_what_is_asked_for(toy):
    run = generate(
        toy, PROMPTS, max_new_tokens=3, seed=1, return_details=True, report="rank", top_logprobs=0
    )
    assert run.draws.rank is not None
    assert run.draws.entropy is None
    assert run.draws.top_tokens is None
    assert run.draws.logprob.shape == (3, 3)


def test_small_vocabulary():
    run = generate(
        lambda ids: torch.zeros(*ids.shape, 2), [[0]], max_new_tokens=3, return_details=True
    )
    assert run.draws.top_tokens.shape == (1, 3, 2)
    with pytest.raises(ValueError, match=r"top_logprobs must be .* got 3"):
        generate(
            lambda ids: torch.zeros(*ids.shape, 2),
            [[0]],
            max_new_tokens=3,
            return_details=True,
            top_logprobs=3,
        )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"top_logprobs": 3}, "return_details must be True where top_logprobs"),
        ({"top_logprobs": -1, "return_details": True}, "top_logprobs must be"),
        ({"report": "everything", "return_details": True}, "report must be"),
    ],
)
def test_refused_before_the_model_runs(toy, options, message):
    with pytest.raises(ValueError, match=message):
        generate(toy, PROMPTS, max_new_tokens=2, **options)
    assert toy.shapes == []


def test_no_rows_and_no_steps(toy):
    run = generate(toy, torch.empty(0, 2, dtype=torch.int64), max_new_tokens=3, return_details=True)
    assert run.sequences.shape == (0, 2)
    run = generate(toy, PROMPTS, max_new_tokens=0, return_details=True)
    assert run.finish_reasons == ["length"] * 3
    assert run.records(0) == []


def test_a_bad_row_is_named_as_in_the_result(toy):
    def model(ids):
        logits = toy(ids)
        logits[ids[:, 0] == 5] = float("nan") if ids.shape[1] > 20 else 0.0
        return logits

    prompts = [[i] for i in range(1, 9)]
    with pytest.raises(onedraw.BadRowError, match="row 4 has a NaN") as caught:
        generate(
            model,
            prompts,
            max_new_tokens=30,
            seed=0,
            temperature=3.0,
            eos_token_id=list(range(20, 23)),
            logit_bias=[{20: 9.0 if i != 4 else -50.0, 21: -50.0, 22: -50.0} for i in range(8)],
        )
    assert caught.value.rows == (4,)
    assert caught.value.statuses == (1,)


def test_nothing_left_to_draw(toy):
    with pytest.raises(onedraw.BadRowError, match="row 0 has no token left"):
        generate(toy, PROMPTS, max_new_tokens=2, allowed=torch.zeros(VOCAB, dtype=torch.bool))
