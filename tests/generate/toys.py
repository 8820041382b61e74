"""Functions and networks of a few tokens, for tests of the loop."""

import pytest
import torch

VOCAB = 50


class Toy:
    """Logits of a row from its own tokens alone, bit for bit, whatever the batch; counts its calls."""

    def __init__(self, vocab=VOCAB, seed=0):
        generator = torch.Generator().manual_seed(seed)
        self.newest, self.before, self.oldest = torch.randn(3, vocab, vocab, generator=generator)
        self.shapes = []

    def __call__(self, ids):
        assert ids.dtype is torch.int64
        assert ids.is_contiguous()
        self.shapes.append(tuple(ids.shape))
        before = torch.cat([ids[:, :1], ids[:, :-1]], dim=1)
        oldest = ids[:, :1].expand_as(ids)
        return self.newest[ids] + self.before[before] + self.oldest[oldest]


def tiny(kind, **more):
    """A random network of a known kind, seeded, with logits that are far from flat."""
    transformers = pytest.importorskip("transformers")
    sizes = {
        "vocab_size": VOCAB,
        "initializer_range": 0.4,
        "bos_token_id": None,
        "eos_token_id": None,
    }
    if kind == "gpt2":
        config = transformers.GPT2Config(
            n_embd=32, n_layer=2, n_head=4, n_positions=64, **sizes | more
        )
    else:
        name = {
            "llama": "LlamaConfig",
            "mistral": "MistralConfig",
            "gemma3": "Gemma3TextConfig",
        }[kind]
        sizes |= {
            "hidden_size": 32,
            "intermediate_size": 48,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "max_position_embeddings": 64,
            "pad_token_id": None,
        }
        config = getattr(transformers, name)(**sizes | more)
    torch.manual_seed(0)
    return transformers.AutoModelForCausalLM.from_config(config).eval()
