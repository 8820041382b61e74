"""A real model: SmolLM2-135M-Instruct."""

import pytest
import torch

import onedraw
from onedraw.generate import generate

PROMPTS = ["The man walked the cat", "Once upon a time, in a land far away,", "In 1969"]


def test_the_tokenizer(smollm2):
    _, tokenizer = smollm2
    for text in [*PROMPTS, "a  123 x\n\n\tdef f(): # é 你好 🎉", "  two spaces  "]:
        assert tokenizer.decode(tokenizer(text)["input_ids"]) == text
    assert tokenizer("The man walked the cat")["input_ids"] == [504, 555, 13197, 260, 2644]
    tokens = tokenizer.convert_ids_to_tokens(tokenizer("a  12")["input_ids"])
    assert tokens == ["a", "ĠĠ", "1", "2"]  # digits are split before the spaces are
    assert tokenizer.padding_side == "left"
    assert tokenizer.eos_token == tokenizer.pad_token == "<|im_end|>"
    chat = tokenizer.apply_chat_template(
        [{"role": "user", "content": "Hi"}], tokenize=False, add_generation_prompt=True
    )
    assert chat.endswith("<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n")


def test_greedy_is_that_of_transformers(smollm2):
    model, tokenizer = smollm2
    ids = tokenizer(PROMPTS[0], return_tensors="pt")["input_ids"]
    theirs = model.generate(
        ids, attention_mask=torch.ones_like(ids), max_new_tokens=50, do_sample=False
    )
    ours = generate(model, ids, max_new_tokens=50, temperature=0)
    assert torch.equal(ours, theirs)
    assert tokenizer.decode(ours[0]).startswith("The man walked the catwalk.")


def test_a_chat_ends_by_itself(smollm2):
    model, tokenizer = smollm2
    chat = tokenizer.apply_chat_template(
        [{"role": "user", "content": "What is the capital of France?"}],
        add_generation_prompt=True,
        return_tensors="pt",
        return_dict=True,
    )
    run = generate(model, chat["input_ids"], max_new_tokens=30, temperature=0, return_details=True)
    assert run.finish_reasons == ["eos"]
    assert (
        tokenizer.decode(run.tokens(0), skip_special_tokens=True)
        == "The capital of France is Paris."
    )


def test_batch_against_single(smollm2):
    model, tokenizer = smollm2
    batch = tokenizer(PROMPTS, return_tensors="pt", padding=True)
    seeds = onedraw.seeds(1, range(3))
    text = generate(model, **batch, temperature=0.8, top_p=0.9, seed=seeds, max_new_tokens=12)
    for row, prompt in enumerate(PROMPTS):
        ids = tokenizer(prompt, return_tensors="pt")["input_ids"]
        alone = generate(
            model, ids, temperature=0.8, top_p=0.9, seed=seeds[row : row + 1], max_new_tokens=12
        )
        assert torch.equal(alone[0], text[row, -alone.shape[1] :])


def test_streaming(smollm2, capsys):
    transformers = pytest.importorskip("transformers")
    model, tokenizer = smollm2
    ids = tokenizer(PROMPTS[0], return_tensors="pt")["input_ids"]
    streamer = transformers.TextStreamer(tokenizer, skip_prompt=True)
    text = generate(model, ids, top_k=20, seed=2, max_new_tokens=10, streamer=streamer)
    assert capsys.readouterr().out == tokenizer.decode(text[0, ids.shape[1] :]) + "\n"
