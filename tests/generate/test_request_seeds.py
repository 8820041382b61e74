"""Where the noise of a run comes from."""

import pytest
import torch

import onedraw
from onedraw.generate import generate

PROMPTS = [[1, 2], [3, 4], [5, 6]]


def test_a_seed_reproduces_and_another_differs(toy):
    first = generate(toy, PROMPTS, max_new_tokens=12, seed=0)
    assert torch.equal(first, generate(toy, PROMPTS, max_new_tokens=12, seed=0))
    assert not torch.equal(first, generate(toy, PROMPTS, max_new_tokens=12, seed=1))


def test_an_int_is_a_seed_for_each_request(toy):
    text = generate(toy, PROMPTS, max_new_tokens=8, seed=7)
    assert torch.equal(
        text, generate(toy, PROMPTS, max_new_tokens=8, seed=onedraw.seeds(7, range(3)))
    )
    # The last two prompts as a batch of their own, keyed by their index in the whole run:
    rest = generate(toy, PROMPTS[1:], max_new_tokens=8, seed=onedraw.seeds(7, [1, 2]))
    assert torch.equal(rest, text[1:])


def test_equal_prompts_get_different_texts(toy):
    text = generate(toy, [[1, 2]] * 4, max_new_tokens=12, seed=0)
    assert len({tuple(row) for row in text.tolist()}) == 4


def test_sample_j_is_stream_j(toy):
    text = generate(toy, PROMPTS, max_new_tokens=8, seed=3, num_return_sequences=3)
    for j in range(3):
        assert torch.equal(text[j::3], generate(toy, PROMPTS, max_new_tokens=8, seed=3, stream=j))


def test_without_a_seed_torch_decides(toy):
    torch.manual_seed(11)
    first = generate(toy, PROMPTS, max_new_tokens=8)
    after = torch.rand(())
    torch.manual_seed(11)
    assert torch.equal(generate(toy, PROMPTS, max_new_tokens=8), first)
    assert torch.rand(()) == after
    assert not torch.equal(generate(toy, PROMPTS, max_new_tokens=8), first)


def test_the_number_of_tokens_takes_nothing_more_from_torch(toy):
    torch.manual_seed(11)
    generate(toy, PROMPTS, max_new_tokens=2)
    after = torch.rand(())
    torch.manual_seed(11)
    generate(toy, PROMPTS[:1], max_new_tokens=9)
    assert torch.rand(()) == after


def test_a_generator(toy):
    texts = [
        generate(toy, PROMPTS, max_new_tokens=8, generator=torch.Generator().manual_seed(5))
        for _ in range(2)
    ]
    assert torch.equal(*texts)


def test_greedy_takes_no_seed(toy):
    torch.manual_seed(11)
    generate(toy, PROMPTS, max_new_tokens=2, temperature=0)
    after = torch.rand(())
    torch.manual_seed(11)
    assert torch.rand(()) == after


@pytest.mark.parametrize("seed", [-(2**63), 2**64 - 1])
def test_the_ends_of_the_range(toy, seed):
    run = generate(toy, PROMPTS, max_new_tokens=2, seed=seed, return_details=True)
    assert run.seed == seed


def test_a_row_again_from_its_record(toy):
    run = generate(
        toy, PROMPTS, max_new_tokens=8, top_p=0.9, num_return_sequences=2, return_details=True
    )
    for row, params in enumerate(run.params):
        again = generate(toy, PROMPTS[row // 2], params=[params], max_new_tokens=8)
        assert torch.equal(again[0], run.sequences[row])
