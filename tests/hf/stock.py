"""What transformers' own loop does when it happens to draw given tokens."""

from contextlib import contextmanager

import torch


class Replay:
    """Stands for `torch.multinomial`: gives the next column of `tokens` [R, n]."""

    def __init__(self, tokens, pad):
        self.tokens, self.pad, self.step = tokens, pad, 0

    def __call__(self, probs, num_samples):
        assert num_samples == 1
        token = self.tokens[:, self.step]
        self.step += 1
        drawn = probs.gather(1, token[:, None])[:, 0]
        possible = (drawn > 0) | (
            token == self.pad
        )  # of a finished row nothing is known but padding
        assert possible.all()
        return token[:, None]


@contextmanager
def drawing(tokens, pad):
    """In it, transformers draws `tokens`, step by step; all of them must be asked for."""
    multinomial, replay = torch.multinomial, Replay(tokens, pad)
    torch.multinomial = replay
    try:
        yield
    finally:
        torch.multinomial = multinomial
    assert replay.step == tokens.shape[1]
