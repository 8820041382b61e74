"""The classic exercise: a function from token ids to logits."""

import sys

import pytest
import torch
from toys import VOCAB, Toy

import onedraw
from fake_cuda import fake_cuda
from onedraw.generate import generate
from onedraw.generate.callable_model import CallableDecoder
from onedraw.generate.loop import Loop
from onedraw.generate.tape import Tape


def by_hand(model, ids, steps, context=None, **params):
    """The loop that everybody writes once, on the stateless function."""
    seeds = onedraw.seeds(params.pop("seed"), range(ids.shape[0]))
    for _ in range(steps):
        shown = ids if context is None else ids[:, -context:]
        logits = model(shown.contiguous())[:, -1]
        token = onedraw.sample(logits, seed=seeds, position=ids.shape[1], **params)
        ids = torch.cat([ids, token.unsqueeze(1)], dim=1)
    return ids


def test_start_token_zero(toy):
    start = torch.zeros(1, 1, dtype=torch.int64)
    text = generate(toy, start, max_new_tokens=12, seed=0)
    assert text.shape == (1, 13)
    assert text.dtype is torch.int64
    assert text[0, 0] == 0
    assert torch.equal(text, by_hand(toy, start, 12, seed=0))


@pytest.mark.parametrize(
    "params", [{}, {"temperature": 0.7, "top_k": 5}, {"top_p": 0.8}, {"temperature": 0}]
)
def test_equals_the_loop_by_hand(toy, params):
    prompt = torch.randint(0, VOCAB, (5, 3), generator=torch.Generator().manual_seed(1))
    text = generate(toy, prompt, max_new_tokens=10, seed=4, **params)
    assert torch.equal(text, by_hand(toy, prompt, 10, seed=4, **params))


@pytest.mark.parametrize("context", [1, 4, 6])
def test_a_long_context_is_cut_and_positions_stay_absolute(toy, context):
    prompt = torch.tensor([[1, 2, 3, 4, 5]])
    text = generate(toy, prompt, max_new_tokens=9, seed=2, context_length=context)
    assert torch.equal(text, by_hand(toy, prompt, 9, context, seed=2))
    assert max(shape[1] for shape in toy.shapes) == context


@pytest.mark.parametrize("context", [None, 3])
def test_stop_and_resume_gives_the_same_text(toy, context):
    options = {"seed": 8, "context_length": context}
    whole = generate(toy, [[7, 9]], max_new_tokens=14, **options)
    part = generate(toy, [[7, 9]], max_new_tokens=6, **options)
    assert torch.equal(part, whole[:, :8])
    assert torch.equal(generate(toy, part, max_new_tokens=8, **options), whole)


@pytest.mark.parametrize("give", [lambda x: x[:, -1], lambda x: x[:, -1:], lambda x: x])
def test_logits_of_the_last_step_suffice(toy, give):
    text = generate(lambda ids: give(toy(ids)), [[1], [2]], max_new_tokens=5, seed=1)
    assert torch.equal(text, generate(Toy(), [[1], [2]], max_new_tokens=5, seed=1))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_narrow_logits_are_read_as_they_are(toy, dtype):
    text = generate(lambda ids: toy(ids).to(dtype), [[1], [2]], max_new_tokens=5, seed=1)
    wide = generate(lambda ids: toy(ids).to(dtype).float(), [[1], [2]], max_new_tokens=5, seed=1)
    assert torch.equal(text, wide)


def test_rows_are_independent_of_the_batch(toy):
    prompt = torch.randint(0, VOCAB, (6, 4), generator=torch.Generator().manual_seed(3))
    seeds = onedraw.seeds(5, range(6))
    together = generate(toy, prompt, max_new_tokens=8, top_p=0.9, seed=seeds)
    order = torch.tensor([4, 0, 5, 1, 3, 2])
    shuffled = generate(toy, prompt[order], max_new_tokens=8, top_p=0.9, seed=seeds[order])
    assert torch.equal(shuffled, together[order])
    for row in range(6):
        alone = generate(
            toy, prompt[row : row + 1], max_new_tokens=8, top_p=0.9, seed=seeds[row : row + 1]
        )
        assert torch.equal(alone[0], together[row])


def test_the_prompt_is_read_once_for_several_samples(toy):
    text = generate(toy, [[1, 2], [3, 4]], max_new_tokens=3, num_return_sequences=4, seed=0)
    assert text.shape == (8, 5)
    assert toy.shapes == [(2, 2), (8, 3), (8, 4)]


@pytest.mark.parametrize(
    "ids", [[3, 4], [[3, 4]], torch.tensor([3, 4]), torch.tensor([[3, 4]], dtype=torch.int32)]
)
def test_forms_of_a_prompt(toy, ids):
    text = generate(toy, ids, max_new_tokens=2, seed=0)
    assert torch.equal(text, generate(Toy(), torch.tensor([[3, 4]]), max_new_tokens=2, seed=0))


def test_nothing_to_do(toy):
    empty = torch.empty(0, 3, dtype=torch.int64)
    assert generate(toy, empty, max_new_tokens=4).shape == (0, 3)
    assert torch.equal(generate(toy, [[1, 2]], max_new_tokens=0), torch.tensor([[1, 2]]))
    assert toy.shapes == []


def test_the_result_can_be_trained_on(toy):
    text = generate(toy, [[1, 2]], max_new_tokens=3, seed=0)
    embedding = torch.nn.Embedding(VOCAB, 4)
    embedding(text).sum().backward()
    assert embedding.weight.grad is not None
    assert not text.is_inference()


def test_the_package_is_the_function(toy):
    package = sys.modules["onedraw.generate"]
    text = package(toy, [[1, 2]], max_new_tokens=3, seed=0)
    assert torch.equal(text, onedraw.generate(toy, [[1, 2]], max_new_tokens=3, seed=0))


@pytest.mark.parametrize(("ids", "logits"), [("cpu", "cuda:0"), ("cuda:0", "cpu")])
def test_ids_and_logits_on_different_devices_are_refused(ids, logits):
    with fake_cuda():
        tape = Tape(torch.ones(2, 3, dtype=torch.int64, device=ids), 4, 0)

        def model(context):
            assert str(context.device) == ids
            return torch.zeros(2, VOCAB, device=logits)

        with pytest.raises(ValueError, match=f"the logits .* {logits}, got them on {ids}"):
            CallableDecoder(model, tape, 1, None).prefill()
        assert CallableDecoder(model, tape, 1, None, anywhere=True).prefill().shape == (2, VOCAB)


def test_generate_refuses_them_unless_there_is_a_fallback():
    def model(context):
        with fake_cuda():
            return torch.zeros(len(context), VOCAB, device="cuda:0")

    with pytest.raises(ValueError, match="input_ids must be on the device of the logits"):
        generate(model, [[1, 2]], max_new_tokens=3)
    seen = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Loop, "_draw", lambda self, logits, step: seen.append(logits))
        generate(model, [[1, 2]], max_new_tokens=3, fallback="cpu")
    assert seen[0].is_cuda
