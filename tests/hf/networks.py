"""Random networks of transformers, of a few thousand weights, for tests of `generate`."""

import torch
import transformers

VOCAB = 50
PAD, EOS = 0, 7

DECODERS = ("gpt2", "llama")
ENCODER_DECODERS = ("t5", "bart")


def tiny(kind):
    """A network whose logits are far from flat, with an end token and a padding token."""
    if kind in DECODERS:
        ends = {"bos_token_id": None, "eos_token_id": None, "pad_token_id": None}
    else:
        ends = {"bos_token_id": 1, "eos_token_id": EOS, "pad_token_id": PAD}
    ends |= {"vocab_size": VOCAB}
    if kind == "gpt2":
        config = transformers.GPT2Config(
            n_embd=32, n_layer=2, n_head=4, n_positions=64, initializer_range=0.4, **ends
        )
    elif kind == "llama":
        config = transformers.LlamaConfig(
            hidden_size=32,
            intermediate_size=48,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            max_position_embeddings=64,
            initializer_range=0.4,
            **ends,
        )
    elif kind == "t5":
        config = transformers.T5Config(
            d_model=32,
            d_kv=8,
            d_ff=48,
            num_layers=2,
            num_heads=4,
            decoder_start_token_id=PAD,
            tie_word_embeddings=False,
            initializer_factor=1.0,
            **ends,
        )
    else:
        config = transformers.BartConfig(
            d_model=32,
            encoder_layers=1,
            decoder_layers=2,
            encoder_attention_heads=4,
            decoder_attention_heads=4,
            encoder_ffn_dim=48,
            decoder_ffn_dim=48,
            max_position_embeddings=64,
            init_std=0.4,
            decoder_start_token_id=2,
            forced_eos_token_id=None,
            **ends,
        )
    torch.manual_seed(0)
    kinds = transformers.AutoModelForCausalLM, transformers.AutoModelForSeq2SeqLM
    model = kinds[kind in ENCODER_DECODERS].from_config(config).eval()
    if kind == "t5":  # its head is made for the scale of tied embeddings
        model.lm_head.weight.data.normal_(std=0.5)
    model.generation_config = (
        transformers.GenerationConfig(
            pad_token_id=PAD, eos_token_id=EOS, decoder_start_token_id=config.decoder_start_token_id
        )
        if kind in ENCODER_DECODERS
        else transformers.GenerationConfig(pad_token_id=PAD, eos_token_id=EOS)
    )
    return model


def prompts(model):
    """Three rows of different lengths, padded on the left (on the right for an encoder)."""
    right = model.config.is_encoder_decoder
    ids = torch.randint(10, VOCAB, (3, 6), generator=torch.Generator().manual_seed(3))
    mask = torch.ones_like(ids)
    for row, padding in enumerate((2, 0, 1)):
        if padding:
            place = slice(6 - padding, 6) if right else slice(0, padding)
            ids[row, place] = PAD
            mask[row, place] = 0
    return {"input_ids": ids, "attention_mask": mask}
