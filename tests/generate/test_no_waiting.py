"""The decode step on a device never waits for it: run on fake CUDA tensors, where a value asked for is an error.

What is on the host has values; a copy between it and the device is an error unless it is queued and pinned.
"""

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import DataDependentOutputException, is_fake
from toys import VOCAB, tiny

import onedraw
from fake_cuda import RealHost, Uploads, fake_cuda
from onedraw import _core, devices, edits, operators, sampler
from onedraw.generate import graph
from onedraw.generate import loop as loops
from onedraw.generate.callable_model import CallableDecoder
from onedraw.generate.details import Recorder
from onedraw.generate.graph import GraphedSteps, StaticDecoder
from onedraw.generate.hooks import Processing
from onedraw.generate.huggingface import HuggingFaceDecoder
from onedraw.generate.loop import Loop
from onedraw.generate.prompts import Prompts
from onedraw.generate.stopping import CRITERIA, Check, Stopping
from onedraw.generate.tape import Tape
from onedraw.generate.watching import Watch
from onedraw.prepared import OnDevice

ROWS, PROMPT, NEW, EOS = 3, 5, 16, (7, 11)
DEVICE = torch.device("cuda", 0)


class HostReadError(Exception):
    """The host asks for what it asked to be sent."""


class Unread:
    """A look that has never come, and is an error to read."""

    def __init__(self, *tensors: Tensor) -> None:
        assert all(tensor.is_cuda for tensor in tensors)

    def ready(self) -> bool:
        return False

    def read(self) -> None:
        raise HostReadError


@pytest.fixture(autouse=True)
def _fake(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(loops, "Look", Unread)
    with fake_cuda(), Uploads(), RealHost(), torch.no_grad():
        yield


def steps_run(
    decode,
    *,
    details: bool = False,
    look_every: int = 6,
    graphed: bool = False,
    min_new: int = 3,
    seed=0,
    allowed=None,
    processors=(),
    criteria=(),
    **settings,
) -> int:
    """Run the loop; how many tokens a row were drawn when the host first read."""
    tape = Tape(torch.ones(ROWS, PROMPT, dtype=torch.int64, device="cuda"), NEW, 0)
    checks = [Check(criterion, CRITERIA) for criterion in criteria]
    stopping = Stopping(torch.tensor([NEW] * ROWS), EOS, checks, at_once=False)
    for name, value in vars(stopping).items():  # it has looked at them: not a step's business
        if isinstance(value, Tensor):
            setattr(stopping, name, devices.stage(value, DEVICE))
    drawn = onedraw.Sampler(**settings, seed=seed, allowed=allowed, raise_on_bad=False)
    recorder = Recorder(ROWS, NEW, "all", 3) if details else None
    decoder = decode(tape)
    loop = Loop(
        decoder,
        drawn,
        tape,
        stopping,
        Watch(),
        recorder,
        min_new=min_new,
        eos=EOS,
        allowed=allowed,
        look_every=look_every,
        graphed=GraphedSteps(decoder, drawn, tape, stopping, recorder) if graphed else None,
        processing=Processing(processors) if processors else None,
    )
    with pytest.raises(HostReadError):
        loop.run()
    return tape.end - PROMPT


def lengths(tokens: int) -> Tensor:
    return torch.full((ROWS,), tokens, device=DEVICE)


def plain(tape: Tape) -> CallableDecoder:
    table = torch.randn(VOCAB, VOCAB, device="cuda")
    return CallableDecoder(lambda ids: table[ids], tape, 1, None)


def network(mask: Tensor | None, kind: str = "llama", **more):
    def decode(tape: Tape) -> HuggingFaceDecoder:
        with torch.device("cuda"):
            model = tiny(kind, **more)
        prompts = Prompts(tape.tokens[:, :PROMPT], mask, lengths(PROMPT))
        return HuggingFaceDecoder(model, tape, prompts, lengths(NEW), 1, None)

    return decode


@pytest.mark.parametrize("details", [False, True])
@pytest.mark.parametrize(
    "settings", [{}, {"temperature": 0.8, "top_k": 5, "top_p": 0.9, "min_p": 0.01}]
)
def test_a_callable(settings, details):
    assert steps_run(plain, details=details, **settings) == 12
    assert steps_run(plain, look_every=100, **settings) == NEW


def no_repeat(ids, scores):
    return scores.scatter(1, ids, -torch.inf)


def criteria_of_all_kinds():
    """One that answers on the device, two of transformers', one that answers on the host, one for all rows."""
    import transformers

    return [
        lambda ids, scores: ids[:, -1] == 7,
        transformers.StoppingCriteriaList([transformers.MaxLengthCriteria(1000)]),
        transformers.MaxTimeCriteria(1e6),
        lambda ids, scores: torch.zeros(ROWS, dtype=torch.bool, device="cpu"),
        lambda ids, scores: False,
    ]


@pytest.mark.parametrize("details", [False, True])
def test_processors_and_criteria(details):
    given = {"processors": [no_repeat], "criteria": criteria_of_all_kinds(), "details": details}
    assert steps_run(plain, **given, temperature=0.8, top_k=5) == 12
    assert steps_run(network(None), **given, look_every=100) == NEW


@pytest.mark.parametrize("hook", ["processors", "criteria"])
def test_a_look_in_a_processor_or_a_criterion_is_caught(hook):
    def curious(ids, scores):
        assert (ids == 1).any()
        return scores

    with pytest.raises(DataDependentOutputException):
        steps_run(plain, **{hook: [curious]})


@pytest.mark.parametrize("padded", [False, True])
def test_a_network(padded):
    mask = None
    if padded:
        mask = torch.ones(ROWS, PROMPT, dtype=torch.int64, device="cuda")
    assert steps_run(network(mask), temperature=0.8, top_k=5) == 12


@pytest.mark.parametrize(
    ("kind", "more"),
    [
        ("llama", {}),
        ("gemma3", {"head_dim": 8, "layer_types": ["sliding_attention", "full_attention"]}),
    ],
    ids=["llama", "gemma3"],
)
def test_transformers_does_not_look_at_the_mask_of_a_step(kind, more, monkeypatch):
    """Of a fake tensor it knows that it cannot; here it does not, once it has read the prompts."""
    from transformers import masking_utils

    step = HuggingFaceDecoder.step

    def first(self, token):
        monkeypatch.setattr(masking_utils, "is_tracing", lambda tensor=None: False)
        return step(self, token)

    monkeypatch.setattr(HuggingFaceDecoder, "step", first)
    mask = torch.ones(ROWS, PROMPT, dtype=torch.int64, device="cuda")
    assert steps_run(network(mask, kind, **more), temperature=0.8) == 12


@pytest.mark.parametrize("details", [False, True])
def test_a_network_in_a_graph(details, monkeypatch):
    """A step that would wait could not be captured."""

    def decode(tape: Tape) -> StaticDecoder:
        with torch.device("cuda"):
            model = tiny("llama")
        prompts = Prompts(tape.tokens[:, :PROMPT], None, lengths(PROMPT))
        return StaticDecoder(model, tape, prompts, lengths(NEW), 1)

    captured = []
    monkeypatch.setattr(graph, "capture", lambda step, device: captured.append(step) or step)
    assert steps_run(decode, details=details, graphed=True, temperature=0.8, top_k=5) == 12
    assert len(captured) == 1


class Job:
    """Is told all that a launch reads and writes, and does nothing."""

    ties_keep = row_stream = False
    bad_token = 0

    def told(self, *given: object) -> None:
        for value in given:
            assert not isinstance(value, Tensor) or value.is_cuda

    set = output = allow = bias = bias_sparse = told


@pytest.fixture
def launched(monkeypatch) -> list[tuple[int, ...]]:
    """Shapes of logits: the draws go the way of a device up to the launch, not that of a traced call."""
    shapes: list[tuple[int, ...]] = []
    monkeypatch.setattr(operators, "traced", lambda x: False)
    monkeypatch.setattr(_core, "Job", Job)
    monkeypatch.setattr(_core, "cuda_stream", lambda x: 0)
    monkeypatch.setattr(sampler, "logits_of", lambda x, fallback: x)
    tensor = edits._tensor
    monkeypatch.setattr(edits, "_tensor", lambda x, name: x if is_fake(x) else tensor(x, name))
    monkeypatch.setattr(devices, "current_stream", lambda x: None)
    monkeypatch.setattr(
        devices, "new_workspace", lambda x: torch.zeros(8, dtype=torch.uint8, device=x.device)
    )
    monkeypatch.setattr(
        devices, "launch", lambda job, x, space, advance: shapes.append(tuple(x.shape))
    )
    return shapes


@pytest.fixture
def one_finishes(monkeypatch) -> None:
    """The first look comes at the step after it was asked for, and says that row 1 has finished."""

    class First(Unread):
        made = 0

        def __init__(self, *tensors: Tensor) -> None:
            super().__init__(*tensors)
            First.made += 1
            self.first = First.made == 1
            self.columns = tensors[1].shape

        def ready(self) -> bool:
            return self.first

        def read(self) -> tuple[Tensor, Tensor]:
            if not self.first:
                raise HostReadError
            facts = torch.tensor([[0, 1, 0], [0, 4, 0], [0, 0, 0]])
            return facts, torch.zeros(self.columns, dtype=torch.int64)

    monkeypatch.setattr(loops, "Look", First)


PER_ROW = {
    "temperature": [0.7, 0.8, 0.9],
    "top_k": [3, 4, 5],
    "seed": [1, 2, 3],
    "logit_bias": [{1: 2.0}, None, {3: 1.0}],
}


def draws(decode=plain, **more):
    """Steps of rows that each have settings of their own."""
    allowed = torch.ones(ROWS, VOCAB, dtype=torch.bool)
    return steps_run(decode, min_new=9, allowed=allowed, **PER_ROW, **more)


@pytest.mark.usefixtures("one_finishes")
@pytest.mark.parametrize("details", [False, True])
@pytest.mark.parametrize("kind", ["callable", "network", "padded"])
def test_the_draw_of_a_device(kind, details, launched):
    mask = torch.ones(ROWS, PROMPT, dtype=torch.int64, device="cuda")
    decode = plain if kind == "callable" else network(mask if kind == "padded" else None)
    assert draws(decode, details=details) == NEW
    assert launched == [(3, VOCAB)] * 7 + [(2, VOCAB)] * 9


@pytest.mark.usefixtures("one_finishes")
def test_a_look_in_the_sampler_is_caught(launched, monkeypatch):
    monkeypatch.setattr(OnDevice, "bad", lambda self: bool(self.status.any()))
    with pytest.raises(DataDependentOutputException):
        draws()


@pytest.mark.usefixtures("one_finishes")
@pytest.mark.parametrize("where", [onedraw.Sampler, CallableDecoder])
def test_a_look_where_rows_leave_is_caught(where, launched, monkeypatch):
    select = where.select

    def curious(self, rows):
        there = rows if rows.is_cuda else self._position
        assert there.tolist()
        select(self, rows)

    monkeypatch.setattr(where, "select", curious)
    with pytest.raises(DataDependentOutputException):
        draws()
    assert len(launched) == 7


@pytest.mark.usefixtures("one_finishes")
@pytest.mark.parametrize("queued", [False, True])
def test_a_copy_of_memory_that_is_not_pinned_is_caught(queued, launched, monkeypatch):
    stage = devices.stage

    def hasty(value, device):
        hurried = stage if len(launched) < 7 else Tensor.to
        return hurried(value, device, **({} if hurried is stage else {"non_blocking": queued}))

    monkeypatch.setattr(devices, "stage", hasty)
    with pytest.raises(RuntimeError, match="waits until the device has read"):
        draws()
    assert len(launched) == 7


def waiting(wait):
    """A callable model that looks at a value of its logits."""

    def decode(tape: Tape) -> CallableDecoder:
        decoder = plain(tape)
        model = decoder.model

        def looking(ids):
            logits = model(ids)
            wait(logits)
            return logits

        decoder.model = looking
        return decoder

    return decode


@pytest.mark.parametrize(
    "wait", [lambda x: x.sum().item(), lambda x: bool(x.isnan().any()), lambda x: x.sum().tolist()]
)
def test_a_look_at_a_value_is_caught(wait):
    with pytest.raises(DataDependentOutputException):
        steps_run(waiting(wait))


def test_a_copy_to_the_host_is_caught():
    with pytest.raises(RuntimeError, match="waits for the device"):
        steps_run(waiting(lambda x: x.cpu()))


def test_a_look_in_the_loop_is_caught(monkeypatch):
    note = Stopping.note

    def curious(self, status, rows):
        if status.max().item():
            raise AssertionError
        note(self, status, rows)

    monkeypatch.setattr(Stopping, "note", curious)
    with pytest.raises(DataDependentOutputException):
        steps_run(plain)
