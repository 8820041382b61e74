"""Sets of options of `generate`, each a function that makes them anew; those that all models take."""

import torch
import transformers
from networks import VOCAB
from transformers import (
    LogitsProcessor,
    StoppingCriteria,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)


class Recorded:
    """A streamer that keeps what it is given."""

    def __init__(self):
        self.put_tokens, self.ended = [], 0

    def put(self, tokens):
        self.put_tokens.append(tokens.tolist())

    def end(self):
        self.ended += 1


class EvenOnly(LogitsProcessor):
    """A processor of a user's: half the tokens, and another dtype than it was given."""

    def __call__(self, input_ids, scores):
        odd = torch.arange(scores.shape[-1]) % 2 == 1
        return scores.double().masked_fill(odd, -torch.inf)


class Halved(TemperatureLogitsWarper):
    """A subclass of a warper, which does something else."""

    def __call__(self, input_ids, scores):
        return super().__call__(input_ids, scores) / 2


class Enough(StoppingCriteria):
    """Rows stop behind a token, and is asked at every step."""

    def __init__(self, tokens):
        self.tokens, self.asked = torch.tensor(tokens), 0

    def __call__(self, input_ids, scores, **kwargs):
        self.asked += 1
        return torch.isin(input_ids[:, -1], self.tokens)


def odd_or_even(batch, ids):
    """Tokens that differ from row to row."""
    return list(range(batch % 2 + 8, VOCAB, 2))


# What one draw does: also the arguments of OneDraw.
FUSED = {
    "nothing": {},
    "temperature": {"temperature": 0.6},
    "hot": {"temperature": 1.7},
    "top_k": {"top_k": 5},
    "top_k above V": {"top_k": 1000},
    "top_p": {"top_p": 0.8},
    "min_p": {"min_p": 0.1},
    "all": {"temperature": 0.8, "top_k": 20, "top_p": 0.9, "min_p": 0.02},
    "top_k and min_p": {"top_k": 9, "min_p": 0.2},
}

# Warpers behind or between these, some or all of which transformers runs itself.
UNFUSED = {
    "typical_p": lambda: {"temperature": 0.8, "top_k": 20, "top_p": 0.95, "typical_p": 0.7},
    "epsilon": lambda: {"top_p": 0.9, "epsilon_cutoff": 0.02},
    "eta": lambda: {"temperature": 1.2, "eta_cutoff": 0.02},
    "renormalized": lambda: {"temperature": 0.8, "top_k": 12, "renormalize_logits": True},
    "top_h": lambda: {"temperature": 0.8, "top_h": 0.5, "top_k": 12, "top_p": 0.9},
    "watermark": lambda: {
        "top_k": 12,
        "watermarking_config": transformers.WatermarkingConfig(bias=2.0, seeding_scheme="selfhash"),
    },
    "top_p=0": lambda: {"temperature": 0.8, "top_p": 0.0},
    "temperature below the kernel's": lambda: {"temperature": 1e-7, "top_k": 4},
    "warpers in another order": lambda: {
        "logits_processor": [TopPLogitsWarper(0.9), TemperatureLogitsWarper(1.5)],
        "top_k": 12,
    },
    "a warper twice": lambda: {"logits_processor": [TopKLogitsWarper(20), TopKLogitsWarper(9)]},
    "a subclass": lambda: {"logits_processor": [Halved(0.9)], "top_k": 12},
    "a fill value": lambda: {
        "logits_processor": [TopKLogitsWarper(8, filter_value=-5.0)],
        "temperature": 0.9,
    },
    "tokens kept": lambda: {"logits_processor": [TopPLogitsWarper(0.1, min_tokens_to_keep=4)]},
}

# What comes before the draw, or around it.
AROUND = {
    "penalties": lambda: {"repetition_penalty": 1.3, "no_repeat_ngram_size": 2, "top_k": 20},
    "bad words": lambda: {"bad_words_ids": [[9], [10, 11]], "top_p": 0.9},
    "bias": lambda: {"sequence_bias": {(12,): 3.0, (13,): -3.0}, "temperature": 0.7},
    "suppressed": lambda: {"suppress_tokens": [9, 10], "begin_suppress_tokens": [11], "top_k": 9},
    "least new tokens": lambda: {"min_new_tokens": 5, "eos_token_id": list(range(7, 30))},
    "least length": lambda: {"min_length": 4, "eos_token_id": list(range(7, 40)), "top_p": 0.95},
    "several ends": lambda: {"eos_token_id": [7, 20, 21, 22, 23, 24, 25], "pad_token_id": 3},
    "forced end": lambda: {"forced_eos_token_id": 7, "top_k": 20},
    "decay": lambda: {"exponential_decay_length_penalty": (2, 1.5), "top_k": 20},
    "allowed prefixes": lambda: {"prefix_allowed_tokens_fn": odd_or_even, "top_p": 0.9},
    "a user's processors": lambda: {"logits_processor": [EvenOnly()], "top_k": 9, "top_p": 0.9},
    "no bad values": lambda: {"remove_invalid_values": True, "top_k": 9},
    "criteria": lambda: {"stopping_criteria": [Enough(list(range(30, 50)))], "top_k": 20},
    "time": lambda: {"max_time": 1000.0, "top_k": 20},
    "no cache": lambda: {"use_cache": False, "top_k": 20},
    "attentions": lambda: {"output_attentions": True, "output_hidden_states": True, "top_p": 0.9},
}

DECODER_ONLY = {
    "least length": lambda: {"min_length": 9, "eos_token_id": list(range(7, 40)), "top_p": 0.95},
    "max_length": lambda: {"max_length": 11, "max_new_tokens": None, "top_k": 20},
    "guidance": lambda: {"guidance_scale": 1.5, "top_k": 20},
}
STATIC = {"static cache": lambda: {"cache_implementation": "static", "top_k": 20}}

SETS = {name: settings.copy for name, settings in FUSED.items()} | UNFUSED | AROUND
