"""What `patch` changes, for how long, and with which noise."""

import threading

import pytest
import torch
import transformers
from networks import EOS, PAD, prompts, tiny
from tokenizers import Tokenizer, decoders, pre_tokenizers
from tokenizers.models import WordLevel
from transformers import GenerationMixin

import onedraw
from onedraw.hf import patch, unpatch

SEEDS = onedraw.seeds(5, range(3))
SHOWN = {"return_dict_in_generate": True, "output_scores": True}


def write(model, inputs=None, **given):
    options = {"do_sample": True, "max_new_tokens": 6, "top_k": 0, "temperature": 1.3}
    return model.generate(**inputs or prompts(model), **options | given)


@pytest.mark.parametrize("samples", [1, 3])
@pytest.mark.parametrize("seed", [7, -1, 2**64 - 1, SEEDS, SEEDS.tolist(), [1, None, 3]])
def test_the_text_of_onedraw_generate(llama, seed, samples):
    """The same seeds, streams and positions: padded prompts, several samples of each."""
    given = {"temperature": 1.3, "top_k": 20, "top_p": 0.95, "num_return_sequences": samples}
    torch.manual_seed(0)
    with patch(seed):
        ours = write(llama, **given)
    torch.manual_seed(0)
    theirs = onedraw.generate(
        llama,
        **prompts(llama),
        **given,
        ties="keep",
        seed=seed,
        max_new_tokens=6,
        eos_token_id=EOS,
        pad_token_id=PAD,
    )
    assert torch.equal(ours, theirs)


def test_seeds_one_a_row(llama):
    """Of several samples each may have one; then nothing is derived."""
    seeds = torch.arange(6)
    with patch(seeds):
        text = write(llama, num_return_sequences=2)
    inputs = {name: value.repeat_interleave(2, 0) for name, value in prompts(llama).items()}
    with patch(seeds):
        assert torch.equal(write(llama, inputs), text)


def test_the_seeds_are_copies(llama):
    seeds = SEEDS.clone()
    with patch(seeds):
        text = write(llama)
        seeds.zero_()
        assert torch.equal(write(llama), text)


def test_each_generate_begins_anew(llama):
    with patch(seed=3):
        first = write(llama)
        assert torch.equal(write(llama), first)
    with patch(seed=4):
        assert not torch.equal(write(llama), first)


def test_without_a_seed_torch_reproduces(llama):
    with patch():
        torch.manual_seed(1)
        first, second = write(llama), write(llama)
        torch.manual_seed(1)
        assert torch.equal(write(llama), first)
        assert torch.equal(write(llama), second)
    assert not torch.equal(first, second)
    with patch(generator=torch.Generator().manual_seed(1)):
        state = torch.get_rng_state()
        assert torch.equal(write(llama), first)
        assert torch.equal(torch.get_rng_state(), state)


def test_a_row_alone_and_in_a_batch(llama):
    """Neither batch mates nor padding matter, with a seed of its own."""
    inputs = prompts(llama)
    with patch(SEEDS):
        text = write(llama, inputs, eos_token_id=None)
    for row, padding in enumerate((2, 0, 1)):
        alone = {name: value[row : row + 1, padding:] for name, value in inputs.items()}
        with patch(SEEDS[row : row + 1]):
            assert torch.equal(write(llama, alone, eos_token_id=None)[0], text[row, padding:])


def test_positions_where_the_text_is_not_in_input_ids(llama):
    inputs = prompts(llama)
    mask = inputs["attention_mask"]
    embeds = llama.get_input_embeddings()(inputs["input_ids"])
    full = {"input_ids": inputs["input_ids"][1:2], "attention_mask": mask[1:2]}
    with patch(SEEDS):
        text = write(llama, inputs)
        given = {"inputs_embeds": embeds, "attention_mask": mask}
        assert torch.equal(write(llama, given), text[:, 6:])
    with patch(SEEDS[:1]):  # no padding: transformers keeps no mask
        text = write(llama, full)
        given = {"inputs_embeds": embeds[1:2], "attention_mask": mask[1:2]}
        assert torch.equal(write(llama, given), text[:, 6:])
        assert torch.equal(write(llama, {"input_ids": full["input_ids"]}), text)


def test_a_decoder_prompt(made):
    """The text of an encoder-decoder model is the decoder's: going on is the same text."""
    model = made["t5"]
    with patch(seed=2):
        text = write(model, max_new_tokens=6, eos_token_id=None)
        begun = prompts(model) | {"decoder_input_ids": text[:, :4]}
        assert torch.equal(write(model, begun, max_new_tokens=3, eos_token_id=None), text)


def test_what_remains_as_it_was(llama):
    """Greedy, beams, and assisted decoding: the very tokens of transformers."""
    inputs = prompts(llama)
    one = {name: value[1:2] for name, value in inputs.items()}
    ways = [
        (inputs, {"do_sample": False, "temperature": None, "top_k": None}),
        (inputs, {"num_beams": 3}),
        (inputs, {"num_beams": 3, "do_sample": False, "temperature": None, "top_k": None}),
        (one, {"assistant_model": tiny("llama")}),
        (one, {"prompt_lookup_num_tokens": 2}),
        (inputs, {"custom_generate": lambda model, input_ids, **rest: input_ids + 1}),
    ]

    def all_of_them():
        torch.manual_seed(0)
        return [write(llama, given, **way) for given, way in ways]

    stock = all_of_them()
    with patch(seed=1):
        for ours, theirs in zip(all_of_them(), stock, strict=True):
            assert torch.equal(ours, theirs)


def letters():
    """A tokenizer whose token i is one letter."""
    alphabet = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWX"
    model = WordLevel({letter: i for i, letter in enumerate(alphabet)}, unk_token="a")
    backend = Tokenizer(model)
    backend.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    backend.decoder = decoders.Fuse()
    return transformers.PreTrainedTokenizerFast(tokenizer_object=backend)


def test_stop_strings(llama):
    inputs = {name: value[1:2] for name, value in prompts(llama).items()}
    tokenizer = letters()
    given = {"max_new_tokens": 9, "eos_token_id": None}
    with patch(seed=0):
        text = write(llama, inputs, **given)[0].tolist()
        stop = tokenizer.decode(text[8:10])
        end = 10 + tokenizer.decode(text[6:]).index(stop) - 2
        stopped = write(llama, inputs, **given, stop_strings=[stop], tokenizer=tokenizer)
    drawer = onedraw.hf.OneDraw(temperature=1.3, seed=0)
    drawn = write(
        llama, inputs, **given, stop_strings=[stop], tokenizer=tokenizer, logits_processor=[drawer]
    )
    assert stopped[0].tolist() == drawn[0].tolist() == text[:end]
    assert end < len(text)


def test_a_streamer_in_another_thread(llama):
    """The patch holds in all threads."""
    inputs = {name: value[1:2] for name, value in prompts(llama).items()}
    tokenizer = letters()
    streamer = transformers.TextIteratorStreamer(tokenizer, skip_prompt=True, timeout=60)
    given = {"eos_token_id": None}
    with patch(seed=0):
        text = write(llama, inputs, **given)
        thread = threading.Thread(
            target=write, args=(llama, inputs), kwargs=given | {"streamer": streamer}
        )
        thread.start()
        words = "".join(streamer)
        thread.join()
    assert words == tokenizer.decode(text[0, 6:])


def test_bad_rows(llama):
    class Spoiled(transformers.LogitsProcessor):
        def __call__(self, input_ids, scores):
            return scores.index_fill(0, torch.tensor([1]), torch.nan)

    with patch(seed=0), pytest.raises(onedraw.BadRowError, match="row 1 has a NaN"):
        write(llama, logits_processor=[Spoiled()])


def test_bad_arguments(llama):
    for given, error, says in [
        ({"seed": "1"}, TypeError, "seed must be an integer"),
        ({"seed": 2**64}, ValueError, "seed must be an integer in"),
        ({"seed": 1, "generator": torch.Generator()}, ValueError, "generator must be left out"),
        ({"generator": 1}, TypeError, "generator must be a torch.Generator"),
        ({"fallback": "gpu"}, ValueError, "fallback must be"),
    ]:
        with pytest.raises(error, match=says):
            patch(**given)
    for seeds, samples, says in [
        ([1, 2], 1, "seed must have one value a row, 3, got 2"),
        ([1, 2], 2, r"seed must have one value a row, 6 \(or one a prompt, 3\), got 2"),
    ]:
        with patch(seeds), pytest.raises(ValueError, match=says):
            write(llama, num_return_sequences=samples)


def test_how_long_it_holds(llama):
    theirs = GenerationMixin._sample
    texts = {}
    for seed in (1, 2):
        with patch(seed):
            texts[seed] = write(llama)
            assert GenerationMixin._sample is not theirs
        assert GenerationMixin._sample is theirs
    patch(1)
    patch(1)  # once more changes nothing
    assert torch.equal(write(llama), texts[1])
    with patch(2) as inner:
        assert torch.equal(write(llama), texts[2])
        with inner:  # is in force already
            assert torch.equal(write(llama), texts[2])
    assert torch.equal(write(llama), texts[1])
    unpatch()
    assert GenerationMixin._sample is theirs
    unpatch()
    with inner:  # once more in force
        assert torch.equal(write(llama), texts[2])
    with pytest.raises(ZeroDivisionError), patch(1):
        raise ZeroDivisionError
    assert GenerationMixin._sample is theirs


def test_contexts_that_overlap(llama):
    """As those of two threads do: the one that is left first takes back its own alone."""
    theirs = GenerationMixin._sample
    first, second = patch(1), patch(2)
    text = write(llama)
    first.__exit__()
    assert torch.equal(write(llama), text)
    second.__exit__()
    second.__exit__()
    assert GenerationMixin._sample is theirs


def test_threads_that_patch_and_write():
    models = [tiny("llama") for _ in range(3)]
    with patch(seed=6):
        text = write(models[0])
    wrong = []

    def work(model):
        for _ in range(4):
            with patch(seed=6):
                if not torch.equal(write(model), text):
                    wrong.append(model)

    theirs = GenerationMixin._sample
    threads = [threading.Thread(target=work, args=(model,)) for model in models]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert GenerationMixin._sample is theirs


def test_what_is_put_on_top_of_it_stays(llama):
    theirs = GenerationMixin._sample
    torch.manual_seed(0)
    stock = write(llama)
    calls = []
    try:
        with patch(seed=1):
            text, ours = write(llama), GenerationMixin._sample

            def counted(self, *args, **kwargs):
                calls.append(1)
                return ours(self, *args, **kwargs)

            GenerationMixin._sample = counted
            assert torch.equal(write(llama), text)
        assert GenerationMixin._sample is counted
        torch.manual_seed(0)
        assert torch.equal(write(llama), stock)
        assert len(calls) == 2
        with pytest.raises(RuntimeError, match="was replaced by"):
            patch()
    finally:
        GenerationMixin._sample = theirs


def test_a_one_draw_under_a_patch(llama):
    """What it drew is what is left to draw."""
    drawer = onedraw.hf.OneDraw(top_k=5, seed=4)
    text = write(llama, logits_processor=[drawer])
    with patch(seed=1):
        assert torch.equal(write(llama, logits_processor=[drawer]), text)


@pytest.mark.parametrize("defect", ["streams", "positions", "seeds"])
def test_a_planted_defect_is_caught(llama, monkeypatch, defect):
    from onedraw.hf import patching

    if defect == "positions":
        monkeypatch.setattr(patching, "_begin", lambda model, ids, inputs: ids.shape[1])
    else:
        real = patching.keys

        def changed(*args):
            key = real(*args)
            if defect == "streams":
                key.stream.zero_()
            else:
                key.seed = key.seed.flip(0)
            return key

        monkeypatch.setattr(patching, "keys", changed)
    with pytest.raises(AssertionError):
        test_the_text_of_onedraw_generate(llama, SEEDS, 3)
