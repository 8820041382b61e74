"""The tokens of the patched loop and of OneDraw are drawn at the rates that transformers shows.

400,000 draws of one row: a bias of 0.5 % of the probability, moved between the two likeliest tokens, is
found with a power that each test states. The seeds are fixed, so that a test passes or fails for good.
"""

import goodness
import numpy as np
import pytest
import torch
from networks import VOCAB

import onedraw

COUNT, CALLS = 100_000, 4
OPTIONS = {
    "plain": {"temperature": 2.0, "top_k": 0},
    "fused": {"temperature": 1.5, "top_k": 30, "top_p": 0.95, "min_p": 0.005},
    "not fused": {"temperature": 1.5, "top_k": 0, "typical_p": 0.9},
}


def stock_probs(model, ids, given):
    """float64 [V]: what transformers would draw from."""
    shown = {"return_dict_in_generate": True, "output_scores": True}
    run = model.generate(ids, max_new_tokens=1, do_sample=True, **shown, **given)
    return run.scores[0][0].double().softmax(-1).numpy()


def biased(probs):
    """The same with 0.5 % moved from the likeliest token to the next."""
    first, second = np.argsort(-probs)[:2]
    moved = probs.copy()
    moved[first] -= 0.005
    moved[second] += 0.005
    return moved


@pytest.mark.slow
@pytest.mark.parametrize("name", OPTIONS)
def test_the_patched_loop(llama, name):
    given = OPTIONS[name]
    ids = torch.tensor([[20]])
    probs = stock_probs(llama, ids, given)
    tokens = []
    for call in range(CALLS):
        with onedraw.hf.patch(seed=call):
            text = llama.generate(
                ids, max_new_tokens=1, do_sample=True, num_return_sequences=COUNT, **given
            )
        tokens.append(text[:, -1])
    drawn = torch.cat(tokens)
    assert goodness.power(probs, biased(probs), len(drawn)) > 0.99
    assert goodness.chi_square(drawn, probs) > goodness.ALPHA
    other = torch.multinomial(
        torch.from_numpy(biased(probs)),
        len(drawn),
        replacement=True,
        generator=torch.Generator().manual_seed(0),
    )
    assert goodness.chi_square(other, probs) < goodness.ALPHA  # the planted bias is seen


def test_one_draw_along_a_text(llama):
    """Draws at many positions of one request, as a text has them."""
    row = 1.5 * torch.randn(1, VOCAB, generator=torch.Generator().manual_seed(5))
    drawer = onedraw.hf.OneDraw(temperature=1.5, seed=onedraw.seeds(3, range(400)))
    scores, ids = row.expand(400, -1), torch.zeros(400, 1001, dtype=torch.int64)
    drawn = torch.cat([drawer(ids[:, :length], scores).argmax(-1) for length in range(1, 1001)])
    probs = (row[0].double() / 1.5).softmax(-1).numpy()
    assert goodness.power(probs, biased(probs), len(drawn)) > 0.99
    assert goodness.chi_square(drawn, probs) > goodness.ALPHA
