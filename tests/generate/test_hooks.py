"""transformers' processors and criteria in the loop: their order, what they get, and who stops."""

import pytest
import torch
from toys import VOCAB, Toy

import onedraw
from onedraw.generate import generate

PROMPTS = torch.arange(1, 13).view(12, 1)
OPTIONS = {"max_new_tokens": 30, "seed": 0, "temperature": 2.0}


@pytest.fixture(params=["each step", "every 16 steps"])
def looks(request):
    if request.param == "every 16 steps":
        request.getfixturevalue("as_on_a_device")


class Seen:
    """A processor or a criterion that keeps what it was given, and gives what it is told."""

    def __init__(self, answer=lambda ids, scores: scores):
        self.ids, self.scores, self.answer = [], [], answer

    def __call__(self, ids, scores):
        self.ids.append(ids)
        self.scores.append(scores)
        return self.answer(ids, scores)


def by_hand(model, ids, steps, processors, **params):
    """The loop on the stateless function, with processors."""
    seeds = onedraw.seeds(params.pop("seed"), range(ids.shape[0]))
    for _ in range(steps):
        scores = model(ids)[:, -1].float()
        for processor in processors:
            scores = processor(ids, scores)
        token = onedraw.sample(scores.float(), seed=seeds, position=ids.shape[1], **params)
        ids = torch.cat([ids, token.unsqueeze(1)], dim=1)
    return ids


def even(ids, scores):
    return scores.masked_fill(torch.arange(VOCAB) % 2 == 1, -torch.inf)


def doubled(ids, scores):
    return scores.double() * 2


def no_repeat(ids, scores):
    return scores.scatter_(1, ids, -torch.inf)  # in place, as some of transformers do


def first_or_last(ids, scores):
    """Its place in the list matters: it keeps the three likeliest, and turns the rest about."""
    return torch.where(scores >= scores.topk(3).values[:, -1:], -scores, scores - 100)


@pytest.mark.parametrize(
    "processors", [[even], [doubled, even], [no_repeat], [first_or_last, no_repeat]]
)
@pytest.mark.parametrize("samples", [1, 3])
def test_processors_run_in_order_before_the_draw(toy, processors, samples):
    given = {"temperature": 0.8, "top_k": 9, "top_p": 0.95}
    text = generate(
        toy,
        PROMPTS,
        **given,
        seed=onedraw.seeds(5, range(12)),
        max_new_tokens=8,
        logits_processor=processors,
        num_return_sequences=samples,
    )
    assert torch.equal(text[::samples], by_hand(Toy(), PROMPTS, 8, processors, seed=5, **given))


def test_the_order_matters(toy):
    """The case above could not tell otherwise."""
    one, other = (
        generate(toy, PROMPTS, **OPTIONS, logits_processor=order)
        for order in ([first_or_last, no_repeat], [no_repeat, first_or_last])
    )
    assert not torch.equal(one, other)


@pytest.mark.usefixtures("looks")
def test_what_a_processor_is_given(toy):
    """All rows at every step, finished ones with pad, and scores of its own."""
    seen = Seen()
    text = generate(
        toy, PROMPTS, **OPTIONS, eos_token_id=[7, 11, 30], pad_token_id=3, logits_processor=[seen]
    )
    plain = generate(Toy(), PROMPTS, **OPTIONS, eos_token_id=[7, 11, 30], pad_token_id=3)
    assert torch.equal(text, plain)
    for step, (ids, scores) in enumerate(zip(seen.ids, seen.scores, strict=True)):
        assert torch.equal(ids[:, : text.shape[1]], text[:, : 1 + step])
        assert ids.is_contiguous()
        assert scores.shape == (12, VOCAB)
        assert scores.dtype is torch.float32
    assert {shape[0] for shape in toy.shapes} == {12}


def test_a_processor_keeps_something_for_each_row(toy):
    """Rows do not move under it."""

    class Once:
        """Forbids row r the tokens that it has drawn, which it knows by r."""

        def __init__(self):
            self.gone = torch.zeros(12, VOCAB, dtype=torch.bool)

        def __call__(self, ids, scores):
            self.gone.scatter_(1, ids[:, -1:], True)
            return scores.masked_fill(self.gone, -torch.inf)

    run = generate(
        toy,
        PROMPTS,
        **OPTIONS,
        eos_token_id=[7, 11],
        logits_processor=[Once()],
        return_details=True,
    )
    assert len(set(run.new_lengths.tolist())) > 3
    for row in range(12):
        tokens = [row + 1, *run.tokens(row)]
        assert len(set(tokens)) == len(tokens)


def test_narrow_logits_come_as_float32():
    toy, seen = Toy(), Seen()
    generate(lambda ids: toy(ids).bfloat16(), PROMPTS, **OPTIONS, logits_processor=[seen])
    assert {scores.dtype for scores in seen.scores} == {torch.float32}


@pytest.mark.usefixtures("looks")
def test_a_criterion_stops_rows(toy):
    free = generate(toy, PROMPTS, **OPTIONS)
    seen = Seen(lambda ids, scores: torch.isin(ids[:, -1], torch.tensor([7, 11, 30])))
    run = generate(
        Toy(), PROMPTS, **OPTIONS, stopping_criteria=[seen], pad_token_id=3, return_details=True
    )
    ends = generate(
        Toy(), PROMPTS, **OPTIONS, eos_token_id=[7, 11, 30], pad_token_id=3, return_details=True
    )
    assert torch.equal(run.sequences, ends.sequences)
    assert torch.equal(run.new_lengths, ends.new_lengths)
    assert run.finish_reasons == [
        "stopping_criteria" if reason == "eos" else reason for reason in ends.finish_reasons
    ]
    assert "stopping_criteria" in run.finish_reasons
    assert torch.equal(run.sequences[:, :2], free[:, :2])
    assert set(seen.scores) == {None}
    for step, ids in enumerate(seen.ids):
        assert torch.equal(ids[:, : run.sequences.shape[1]], run.sequences[:, : 2 + step])


@pytest.mark.usefixtures("looks")
def test_every_criterion_is_asked_at_every_step(toy):
    criteria = [Seen(lambda ids, scores: ids.shape[1] >= 6), Seen(lambda ids, scores: False)]
    run = generate(toy, PROMPTS, **OPTIONS, stopping_criteria=criteria, return_details=True)
    assert run.sequences.shape == (12, 6)
    assert run.finish_reasons == ["stopping_criteria"] * 12
    for seen in criteria:
        assert [ids.shape[1] for ids in seen.ids][:5] == [2, 3, 4, 5, 6]
    assert len(criteria[0].ids) == len(criteria[1].ids)


def test_a_reason_that_comes_first_stays(toy):
    """An end token before a criterion, a criterion before the length."""
    bias = [{7: 100.0}] + [{7: -100.0}] * 11
    run = generate(
        toy,
        PROMPTS,
        seed=0,
        max_new_tokens=[1] * 6 + [5] * 6,
        logit_bias=bias,
        eos_token_id=7,
        stopping_criteria=[lambda ids, scores: torch.arange(12) < 3],
        return_details=True,
    )
    assert run.finish_reasons[:6] == ["eos", *["stopping_criteria"] * 2, *["length"] * 3]


def test_criteria_of_transformers(toy):
    transformers = pytest.importorskip("transformers")
    soon = transformers.MaxTimeCriteria(max_time=0.0, initial_timestamp=0.0)
    late = transformers.MaxTimeCriteria(max_time=1e6)
    short = transformers.StoppingCriteriaList([late, transformers.MaxLengthCriteria(max_length=5)])
    assert generate(toy, PROMPTS, **OPTIONS, stopping_criteria=[soon]).shape == (12, 2)
    assert generate(toy, PROMPTS, **OPTIONS, stopping_criteria=short).shape == (12, 5)
    assert generate(toy, PROMPTS, **OPTIONS, stopping_criteria=[late]).shape == (12, 31)


def test_stop_strings_as_a_criterion(toy, letters):
    transformers = pytest.importorskip("transformers")
    given = {**OPTIONS, "return_details": True}
    strings = ["st", "e"]
    expected = generate(toy, PROMPTS, **given, stop_strings=strings, tokenizer=letters)
    criterion = transformers.StopStringCriteria(letters, strings)
    run = generate(Toy(), PROMPTS, **given, stopping_criteria=[criterion])
    assert torch.equal(run.sequences, expected.sequences)
    assert [
        reason.replace("stopping_criteria", "stop_string") for reason in run.finish_reasons
    ] == (expected.finish_reasons)
    assert "stop_string" in expected.finish_reasons
    both = generate(
        Toy(),
        PROMPTS,
        **given,
        stop_strings=strings,
        tokenizer=letters,
        stopping_criteria=[criterion],
    )
    assert both.finish_reasons == expected.finish_reasons


def test_processors_and_criteria_of_transformers(llama):
    """The text of transformers' own loop with the same lists, greedy; with padding."""
    transformers = pytest.importorskip("transformers")

    class Enough(transformers.StoppingCriteria):
        def __call__(self, input_ids, scores, **kwargs):
            return input_ids[:, -1] % 5 == 0

    def lists():
        return {
            "logits_processor": transformers.LogitsProcessorList(
                [
                    transformers.RepetitionPenaltyLogitsProcessor(1.5),
                    transformers.NoRepeatNGramLogitsProcessor(2),
                ]
            ),
            "stopping_criteria": transformers.StoppingCriteriaList([Enough()]),
        }

    ids = torch.tensor([[0, 0, 5, 6], [1, 2, 3, 4], [0, 9, 8, 7]])
    given = {"attention_mask": (ids != 0).long(), "max_new_tokens": 20, "pad_token_id": 0}
    theirs = llama.generate(ids, **given, **lists(), do_sample=False, eos_token_id=[48])
    ours = generate(llama, ids, **given, **lists(), do_sample=False, eos_token_id=[48])
    assert torch.equal(ours, theirs)
    assert not torch.equal(ours, generate(llama, ids, **given, do_sample=False, eos_token_id=[48]))


@pytest.mark.usefixtures("looks")
@pytest.mark.parametrize("details", [False, True])
def test_bad_rows_are_those_that_run(toy, details):
    """A finished row may be given anything; a running one is named."""
    end = 49
    bias = [{end: 100.0 if row == 3 else -100.0} for row in range(12)]
    given = {"seed": 0, "max_new_tokens": 8, "eos_token_id": end, "logit_bias": bias}
    given["return_details"] = details

    def spoiled(ids, scores):
        over = (ids == end).any(1, keepdim=True)
        return scores.masked_fill(over, torch.nan)

    run = generate(toy, PROMPTS, **given, logits_processor=[spoiled])
    expected = generate(Toy(), PROMPTS, **given)
    if details:
        run, expected = run.sequences, expected.sequences
    assert torch.equal(run, expected)

    def spoilt(ids, scores):
        return spoiled(ids, scores).index_fill(0, torch.tensor([5]), torch.nan)

    with pytest.raises(onedraw.BadRowError) as caught:
        generate(toy, PROMPTS, **given, logits_processor=[spoilt])
    assert (caught.value.rows, caught.value.statuses) == ((5,), (1,))


def test_what_a_processor_makes_can_be_trained_on(llama):
    seen = Seen()
    generate(llama, [[1, 2]], max_new_tokens=2, seed=0, logits_processor=[seen])
    assert not any(tensor.is_inference() for tensor in seen.ids + seen.scores)


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({"logits_processor": even}, TypeError, "logits_processor must be a list of callables"),
        ({"logits_processor": [even, 1]}, TypeError, "logits_processor must be a list"),
        ({"stopping_criteria": 3}, TypeError, "stopping_criteria must be a list of callables"),
        (
            {"logits_processor": [lambda ids, scores: None]},
            ValueError,
            r"logits_processor must give scores \[12, 50\] .* got None from <lambda>",
        ),
        (
            {"logits_processor": [lambda ids, scores: scores[:6]]},
            ValueError,
            r"logits_processor must give scores \[12, 50\] .* got float32 tensor \[6, 50\]",
        ),
        (
            {"stopping_criteria": [Seen(lambda ids, scores: ids[:, -1])]},
            ValueError,
            r"stopping_criteria must give a bool tensor \[12\], .* got int64 tensor \[12\] .*Seen",
        ),
        (
            {"stopping_criteria": [lambda ids, scores: ids[:, -1:] > 3]},
            ValueError,
            r"stopping_criteria must give a bool tensor \[12\]",
        ),
        ({"stopping_criteria": [lambda ids, scores: None]}, ValueError, "got None from"),
    ],
)
def test_refused(toy, given, error, message):
    with pytest.raises(error, match=message):
        generate(toy, PROMPTS, **OPTIONS, **given)


@pytest.mark.parametrize("defect", ["rows leave", "one criterion is enough", "order"])
def test_a_planted_defect_is_caught(toy, monkeypatch, defect):
    from onedraw.generate import hooks, loop, stopping

    if defect == "rows leave":
        shrink = loop.Loop._shrink

        def leaving(self, done=None):
            self.stays = False
            return shrink(self, done)

        monkeypatch.setattr(loop.Loop, "_shrink", leaving)
        with pytest.raises((ValueError, IndexError, RuntimeError, AssertionError)):
            test_a_processor_keeps_something_for_each_row(toy)
    elif defect == "order":
        real = hooks.Processing.__init__
        monkeypatch.setattr(
            hooks.Processing, "__init__", lambda self, given: real(self, given[::-1])
        )
        with pytest.raises(AssertionError):
            test_processors_run_in_order_before_the_draw(toy, [first_or_last, no_repeat], 1)
    else:
        asked = stopping.Stopping._asked
        monkeypatch.setattr(stopping.Stopping, "_asked", lambda *a: asked(*a)[:1])
        with pytest.raises(AssertionError):
            test_a_criterion_stops_rows_of_two(toy)


def test_a_criterion_stops_rows_of_two(toy):
    """The second of a list is heard as the first is."""
    criteria = [lambda ids, scores: False, lambda ids, scores: ids.shape[1] >= 4]
    assert generate(toy, PROMPTS, **OPTIONS, stopping_criteria=criteria).shape == (12, 4)
