"""A language model of a few thousand weights and a tokenizer of letters, saved as a folder."""

from pathlib import Path

import torch

PAD = "<pad>"


def save(folder: Path) -> Path:
    """Write the model: random weights, always the same; no token ends a text, `PAD` fills."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    space, line = "\u0120", "\u010a"  # as the byte-level alphabet writes them
    alphabet = [space, line, *map(chr, range(ord("!"), ord("~") + 1))]
    vocab = {character: i for i, character in enumerate(alphabet)} | {PAD: len(alphabet)}
    tokenizer = Tokenizer(models.BPE(vocab=vocab, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token=PAD)
    config = LlamaConfig(
        vocab_size=len(vocab),
        hidden_size=32,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=4096,
        bos_token_id=None,
        eos_token_id=None,
        pad_token_id=vocab[PAD],
        initializer_range=0.3,
    )
    torch.manual_seed(0)
    model = LlamaForCausalLM(config)
    model.save_pretrained(folder)
    fast.save_pretrained(folder)
    return folder
