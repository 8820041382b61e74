"""A step as a graph: on a stand-in that runs recorded operators again, where nothing on the host can change between."""

from contextlib import contextmanager
from functools import partial

import pytest
import replaying
import torch
from toys import tiny

import onedraw
from onedraw.generate import cache, generate, graph, settings

transformers = pytest.importorskip("transformers")

PROMPTS = torch.randint(1, 40, (6, 5), generator=torch.Generator().manual_seed(3))
RAGGED = [[3, 1, 4, 1, 5, 9], [2, 6], [5, 3, 5, 8]]
OPTIONS = {"max_new_tokens": 24, "seed": 4, "temperature": 1.5, "eos_token_id": [7, 11]}


@pytest.fixture(params=["llama", "gpt2"], scope="module")
def model(request):
    return tiny(request.param)


@pytest.fixture
def captures(monkeypatch, as_on_a_device):
    """Steps captured; what needs CUDA is a stand-in, and positions are in tensors as there."""
    from onedraw.generate import sampling

    taken = []

    def capture(step, device):
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
        lambda wanted, pretrained, device, *rest: check(wanted, pretrained, cuda, *rest),
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
    expected, got = both(model, request, RAGGED, **OPTIONS)
    assert torch.equal(got, expected)


MIXED = {"head_dim": 8, "layer_types": ["sliding_attention", "full_attention"]}


@pytest.mark.parametrize(
    ("kind", "more"), [("mistral", {}), ("gemma3", MIXED)], ids=["mistral", "gemma3"]
)
@pytest.mark.parametrize("window", [4, 12, 40])
@pytest.mark.parametrize("prompts", [PROMPTS, RAGGED], ids=["even", "ragged"])
def test_a_sliding_window(kind, more, window, prompts, request):
    """Full before the capture, after it, and never."""
    model = tiny(kind, sliding_window=window, **more)
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
    patch.setattr(api, "string_criterion", lambda texts, tokenizer: Criteria())
    options = {**OPTIONS, "stop_strings": ["x"], "tokenizer": object(), "return_details": True}
    expected, got = both(model, request, **options)
    assert "stop_string" in got.finish_reasons
    assert got.finish_reasons == expected.finish_reasons
    assert torch.equal(got.sequences, expected.sequences)


def test_stopping_criteria(model, request):
    """They are asked after each launch."""
    asked = []

    def even(ids, scores):
        asked.append(ids.shape[1])
        return (ids[:, -1] % 2 == 0) & (ids[:, -2] % 2 == 0)

    expected, got = both(model, request, **OPTIONS, stopping_criteria=[even])
    assert torch.equal(got, expected)
    assert not torch.equal(got, generate(model, PROMPTS, **OPTIONS))
    second = asked.index(asked[0], 1)
    for steps in (asked[:second], asked[second:]):
        assert steps == list(range(asked[0], asked[0] + len(steps)))


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
        settings.check_cuda_graph(True, True, torch.device("cuda"), 9, [])
    with pytest.raises(ValueError, match="cuda_graph must be left out where logits_processor"):
        settings.check_cuda_graph(True, True, torch.device("cuda"), None, [print])


def plain(base):
    """A class that transformers does not say of that it can be captured."""
    return type(base.__name__, (base,), {"_can_compile_fullgraph": False})


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (lambda model: setattr(model, "__class__", plain(type(model))), "does not say of it"),
        (lambda model: setattr(model.config, "_attn_implementation", "flex_attention"), "the mask"),
        (lambda model: setattr(model.model.rotary_emb, "rope_type", "dynamic"), "its positions"),
        (lambda model: model.lm_head.to("meta"), "on several devices"),
    ],
)
def test_a_model_whose_steps_cannot_be_captured_is_refused(spoil, why):
    model = tiny("llama")
    graph.check_static(model)
    spoil(model)
    with pytest.raises(ValueError, match=f"cuda_graph must be left out for this Llama.*{why}"):
        graph.check_static(model)


def test_a_cache_of_other_layers_is_refused():
    config = transformers.Qwen3NextConfig()
    with pytest.raises(ValueError, match=r"cuda_graph must be left out .* LinearAttentionLayer"):
        cache.static_cache(config, 30)


def test_a_capture_is_on_the_device_of_the_model(monkeypatch):
    """A spy in the place of torch.cuda, which is on cuda:0."""
    seen = []

    @contextmanager
    def entered(name, *given, **named):
        seen.append((name, *given, *named.values()))
        yield

    class Graph:
        def replay(self):
            seen.append("replay")

    monkeypatch.setattr(torch.cuda, "CUDAGraph", Graph)
    monkeypatch.setattr(torch.cuda, "Stream", lambda device=None: f"a stream of {device}")
    for name in ("device", "stream", "graph"):
        monkeypatch.setattr(torch.cuda, name, partial(entered, name))
    replay = graph.capture(lambda: seen.append("step"), torch.device("cuda:1"))
    assert seen.pop() == "step"
    names = [name for name, *_ in seen]
    given = dict(zip(names, (rest for _, *rest in seen), strict=True))
    assert given["device"] == [torch.device("cuda:1")]
    assert given["stream"] == ["a stream of cuda:1"]
    assert given["graph"][1:] == ["a stream of cuda:1"]
    assert names.index("graph") == 2, "torch.cuda.graph waits for the device that is current"
    replay()
    assert seen.pop() == "replay"
