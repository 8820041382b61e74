"""A step as a graph: on a stand-in that runs recorded operators again, where nothing on the host can change between."""

import pytest
import replaying
import torch
from toys import tiny

import onedraw
from onedraw.generate import generate, graph, settings

PROMPTS = torch.randint(1, 40, (6, 5), generator=torch.Generator().manual_seed(3))
OPTIONS = {"max_new_tokens": 24, "seed": 4, "temperature": 1.5, "eos_token_id": [7, 11]}


@pytest.fixture(params=["llama", "gpt2"], scope="module")
def model(request):
    return tiny(request.param)


@pytest.fixture
def captures(monkeypatch, as_on_a_device):
    """Steps captured; what needs CUDA is a stand-in, and positions are in tensors as there."""
    from onedraw.generate import sampling

    taken = []

    def capture(step):
        from transformers import masking_utils

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(masking_utils, "is_tracing", lambda tensor=None: True)
            taken.append(step)
            return replaying.capture(step)

    monkeypatch.setattr(graph, "capture", capture)
    monkeypatch.setattr(sampling, "_one_or_all", lambda values: values)
    check = settings.check_cuda_graph
    cuda = torch.device("cuda")
    monkeypatch.setattr(
        settings,
        "check_cuda_graph",
        lambda wanted, pretrained, device, length: check(wanted, pretrained, cuda, length),
    )
    return taken


def both(model, request, prompts=PROMPTS, **options):
    expected = generate(model, prompts, **options)
    captures = request.getfixturevalue("captures")
    got = generate(model, prompts, **options, cuda_graph=True)
    assert len(captures) == 1
    return expected, got


@pytest.mark.parametrize(
    "options",
    [
        {"temperature": 0},
        {},
        {"top_k": 20, "top_p": 0.9, "look_every": 4},
        {"max_new_tokens": [3, 24, 9, 1, 17, 24]},
        {"min_new_tokens": 6},
        {"num_return_sequences": 2},
    ],
    ids=lambda options: "-".join(options) or "plain",
)
def test_the_text_is_that_of_single_steps(model, request, options):
    expected, got = both(model, request, **{**OPTIONS, **options})
    assert torch.equal(got, expected)


def test_prompts_of_several_lengths(model, request):
    prompts = [[3, 1, 4, 1, 5, 9], [2, 6], [5, 3, 5, 8]]
    expected, got = both(model, request, prompts, **OPTIONS)
    assert torch.equal(got, expected)


def test_details(model, request):
    expected, got = both(model, request, **OPTIONS, return_details=True, top_logprobs=2)
    assert torch.equal(got.sequences, expected.sequences)
    assert got.finish_reasons == expected.finish_reasons
    assert torch.equal(got.new_lengths, expected.new_lengths)
    for field, other in zip(got.draws, expected.draws, strict=True):
        torch.testing.assert_close(field, other, equal_nan=True)


def test_stop_strings(model, request):
    class Criteria:
        """Two tokens in a row that are both even."""

        def __call__(self, ids, scores):
            return (ids[:, -1] % 2 == 0) & (ids[:, -2] % 2 == 0)

    from onedraw.generate import api

    patch = request.getfixturevalue("monkeypatch")
    patch.setattr(api, "stop_strings_criteria", lambda texts, tokenizer: Criteria())
    options = {**OPTIONS, "stop_strings": ["x"], "tokenizer": object(), "return_details": True}
    expected, got = both(model, request, **options)
    assert "stop_string" in got.finish_reasons
    assert got.finish_reasons == expected.finish_reasons
    assert torch.equal(got.sequences, expected.sequences)


@pytest.mark.usefixtures("captures")
def test_a_bad_row_is_found(model):
    with pytest.MonkeyPatch.context() as patch:
        step = graph.StaticDecoder.next

        def spoilt(self, newest, column):
            logits = step(self, newest, column)
            late = (column > 15).float().log()  # 0, or -inf
            return torch.cat(
                [logits[:2], logits[2:3] * 0 + torch.where(late == 0, torch.nan, 0), logits[3:]]
            )

        patch.setattr(graph.StaticDecoder, "next", spoilt)
        with pytest.raises(onedraw.BadRowError, match="row 2 has a NaN"):
            generate(model, PROMPTS, max_new_tokens=24, seed=1, cuda_graph=True)


@pytest.mark.usefixtures("captures")
def test_a_host_number_in_a_step_is_seen(model, monkeypatch):
    """What would be frozen into a graph gives another text here, too."""
    expected = generate(model, PROMPTS, max_new_tokens=24, seed=4, cuda_graph=True)
    step = graph.GraphedSteps._step

    def frozen(self):
        self.column.fill_(self.tape.end - 1)  # right in every single step, and in no replay
        step(self)

    monkeypatch.setattr(graph.GraphedSteps, "_step", frozen)
    got = generate(model, PROMPTS, max_new_tokens=24, seed=4, cuda_graph=True)
    assert not torch.equal(got, expected)


def test_mistakes(model, toy):
    with pytest.raises(ValueError, match="cuda_graph must be left out for a plain callable"):
        generate(toy, PROMPTS, cuda_graph=True)
    with pytest.raises(ValueError, match="cuda_graph must be left out for a model on cpu"):
        generate(model, PROMPTS, cuda_graph=True)
    with pytest.raises(TypeError, match="cuda_graph must be True or False, got 1"):
        generate(model, PROMPTS, cuda_graph=1)
    with pytest.raises(ValueError, match="left out where context_length is given, got 9"):
        settings.check_cuda_graph(True, True, torch.device("cuda"), 9)
    graph.check_static(model)
    model._can_compile_fullgraph = False
    with pytest.raises(ValueError, match="cuda_graph must be left out for a"):
        graph.check_static(model)
    del model._can_compile_fullgraph
