"""What is refused, with the parameter, what is allowed, and what was given in the message."""

import pytest
import torch
from toys import VOCAB, Toy

from onedraw.generate import generate

LOGITS = torch.zeros(2, 3, VOCAB)


@pytest.mark.parametrize(
    ("ids", "error", "message"),
    [
        ("The man", TypeError, "input_ids must be token ids"),
        (torch.zeros(1, 2), TypeError, "input_ids must be integers"),
        (torch.zeros(1, 2, dtype=torch.bool), TypeError, "input_ids must be integers"),
        (torch.zeros(1, 2, 3, dtype=torch.int64), ValueError, r"input_ids must be \[B, T\]"),
        (torch.zeros((), dtype=torch.int64), ValueError, r"input_ids must be \[B, T\]"),
        (torch.zeros(2, 0, dtype=torch.int64), ValueError, "at least one token"),
        ([[1], []], ValueError, r"input_ids\[1\] must have at least one token"),
        ([[1, 2], 3], TypeError, r"input_ids\[1\] must be a list"),
        ([[1, 2.5]], TypeError, r"input_ids\[0\]\[1\] must be token ids"),
        ([[1, -1]], ValueError, r"input_ids\[0\]\[1\] must be token ids"),
        (torch.tensor([[1, -1]]), ValueError, "input_ids must be token ids >= 0, got -1"),
        (None, TypeError, "input_ids must be"),
    ],
)
def test_prompts(toy, ids, error, message):
    with pytest.raises(error, match=message):
        generate(toy, ids, max_new_tokens=2)


@pytest.mark.parametrize(
    ("mask", "error", "message"),
    [
        ([[1, 1]], ValueError, r"attention_mask must have the shape of input_ids, \[2, 3\]"),
        ([[1, 1, 2], [1, 1, 1]], ValueError, "attention_mask must be of 0 and 1"),
        ([[1, 1, 0], [1, 1, 1]], ValueError, "attention_mask must be 0 on the left only .* row 0"),
        ([[1, 1, 1], [0, 0, 0]], ValueError, "empty prompt in row 1"),
        (torch.ones(2, 3, dtype=torch.complex64), TypeError, "attention_mask must be of 0 and 1"),
    ],
)
def test_masks(llama, mask, error, message):
    with pytest.raises(error, match=message):
        generate(llama, [[1, 2, 3], [4, 5, 6]], attention_mask=mask, max_new_tokens=2)


def test_a_mask_for_lists_of_different_lengths(llama):
    with pytest.raises(ValueError, match="attention_mask must be left out"):
        generate(llama, [[1, 2], [3]], attention_mask=[[1, 1], [1, 1]], max_new_tokens=2)


def test_a_callable_sees_no_padding(toy):
    with pytest.raises(ValueError, match="prompts of one length"):
        generate(toy, [[1, 2], [3]], max_new_tokens=2)
    assert generate(toy, [[1, 2]], attention_mask=[[1, 1]], max_new_tokens=2).shape == (1, 4)


class Output:
    logits = LOGITS


@pytest.mark.parametrize(
    ("output", "error", "message"),
    [
        ((LOGITS, None), TypeError, r"got tuple: give lambda ids: model\(ids\)\[0\]"),
        (Output(), TypeError, r"got Output: give lambda ids: model\(ids\).logits"),
        (None, TypeError, "model must return a tensor of logits"),
        (LOGITS.long(), TypeError, "model must return logits of a real dtype"),
        (
            LOGITS[:1],
            ValueError,
            r"model must return logits \[2, 3, V\].* got float32 tensor \[1, 3, 50\]",
        ),
        (LOGITS[:, :2], ValueError, "model must return logits"),
        (LOGITS[0], ValueError, "model must return logits"),
        (LOGITS[..., :0], ValueError, "model must return logits"),
        (LOGITS[None], ValueError, "model must return logits"),
        (LOGITS.double(), TypeError, "float32, float16 or bfloat16"),
    ],
)
def test_what_a_model_returns(output, error, message):
    with pytest.raises(error, match=message):
        generate(lambda ids: output, [[1, 2, 3], [4, 5, 6]], max_new_tokens=2)


def test_not_a_model():
    with pytest.raises(TypeError, match="model must be callable, got 'gpt2'"):
        generate("gpt2", [[1]], max_new_tokens=2)


def test_longer_than_the_context_of_the_model(llama):
    with pytest.raises(
        ValueError, match=r"input_ids must be at most as long .* 64 tokens, got 70 in row 0"
    ):
        generate(llama, torch.ones(1, 70, dtype=torch.int64), max_new_tokens=1)
    with pytest.raises(
        ValueError, match=r"max_new_tokens must fit .* at most 4 after the 60 of row 0, got 5"
    ):
        generate(llama, torch.ones(1, 60, dtype=torch.int64), max_new_tokens=5)
    assert generate(llama, torch.ones(1, 60, dtype=torch.int64), max_new_tokens=4).shape == (1, 64)
    # Padding is no part of the context.
    prompts = [[1] * 60, [2] * 10]
    assert generate(llama, prompts, max_new_tokens=[4, 54]).shape == (2, 114)


def test_tokens_that_the_model_does_not_know(llama):
    with pytest.raises(ValueError, match=r"input_ids must be token ids in \[0, 49\] .* got 50"):
        generate(llama, [[1, 50]], max_new_tokens=2)


def test_nothing_was_drawn_from_torch(llama):
    torch.manual_seed(4)
    with pytest.raises(ValueError, match="max_new_tokens"):
        generate(llama, [[1]], max_new_tokens=-1)
    after = torch.rand(())
    torch.manual_seed(4)
    assert torch.rand(()) == after
    assert isinstance(Toy(), Toy)
