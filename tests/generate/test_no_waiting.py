"""The decode step on a device never waits for it: run on fake CUDA tensors, where a value asked for is an error."""

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import DataDependentOutputException
from toys import VOCAB, tiny

import onedraw
from fake_cuda import fake_cuda
from onedraw.generate import graph
from onedraw.generate import loop as loops
from onedraw.generate.callable_model import CallableDecoder
from onedraw.generate.details import Recorder
from onedraw.generate.graph import GraphedSteps, StaticDecoder
from onedraw.generate.huggingface import HuggingFaceDecoder
from onedraw.generate.loop import Loop
from onedraw.generate.prompts import Prompts
from onedraw.generate.stopping import Stopping
from onedraw.generate.tape import Tape
from onedraw.generate.watching import Watch

ROWS, PROMPT, NEW, EOS = 3, 5, 16, (7, 11)


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
    with fake_cuda(), torch.no_grad():
        yield


def there(thing: object) -> None:
    """The tensors of an object that was made on the host, on the device."""
    for name, value in vars(thing).items():
        if isinstance(value, Tensor):
            setattr(thing, name, value.to("cuda"))


def on_host(limits: list[int]) -> Stopping:
    """What is looked at before the loop begins is no step's business."""
    from torch._subclasses import fake_tensor

    with fake_tensor.unset_fake_temporarily():
        return Stopping(torch.tensor(limits), EOS, at_once=False)


def steps_run(
    decode, *, details: bool = False, look_every: int = 6, graphed: bool = False, **settings
) -> int:
    """Run the loop; how many tokens a row were drawn when the host first read."""
    tape = Tape(torch.ones(ROWS, PROMPT, dtype=torch.int64, device="cuda"), NEW, 0)
    stopping = on_host([NEW] * ROWS)
    there(stopping)
    sampler = onedraw.Sampler(**settings, seed=0, raise_on_bad=False)
    recorder = Recorder(ROWS, NEW, "all", 3) if details else None
    decoder = decode(tape)
    loop = Loop(
        decoder,
        sampler,
        tape,
        stopping,
        Watch(),
        recorder,
        min_new=3,
        eos=EOS,
        look_every=look_every,
        graphed=GraphedSteps(decoder, sampler, tape, stopping, recorder) if graphed else None,
    )
    with pytest.raises(HostReadError):
        loop.run()
    return tape.end - PROMPT


def plain(tape: Tape) -> CallableDecoder:
    table = torch.randn(VOCAB, VOCAB, device="cuda")
    return CallableDecoder(lambda ids: table[ids], tape, 1, None)


def network(mask: Tensor | None, kind: str = "llama", **more):
    def decode(tape: Tape) -> HuggingFaceDecoder:
        with torch.device("cuda"):
            model = tiny(kind, **more)
        prompts = Prompts(tape.tokens[:, :PROMPT], mask, torch.full((ROWS,), PROMPT))
        return HuggingFaceDecoder(model, tape, prompts, torch.full((ROWS,), NEW), 1, None)

    return decode


@pytest.mark.parametrize("details", [False, True])
@pytest.mark.parametrize(
    "settings", [{}, {"temperature": 0.8, "top_k": 5, "top_p": 0.9, "min_p": 0.01}]
)
def test_a_callable(settings, details):
    assert steps_run(plain, details=details, **settings) == 12
    assert steps_run(plain, look_every=100, **settings) == NEW


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
        prompts = Prompts(tape.tokens[:, :PROMPT], None, torch.full((ROWS,), PROMPT))
        return StaticDecoder(model, tape, prompts, torch.full((ROWS,), NEW), 1)

    captured = []
    monkeypatch.setattr(graph, "capture", lambda step, device: captured.append(step) or step)
    assert steps_run(decode, details=details, graphed=True, temperature=0.8, top_k=5) == 12
    assert len(captured) == 1


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
