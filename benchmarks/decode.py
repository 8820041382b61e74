"""Tokens a second on a real model, and what share of a decode step is spent sampling.

    python -m benchmarks.decode [--device cuda] [--batches 1,8,64] [--new-tokens 48] [--out FILE]

Two measurements a batch, on SmolLM2-135M-Instruct in float32, both peers in the same process and in turn:

- `onedraw.generate` and transformers' own `generate` from the same prompts, with the same settings, without
  an end-of-sequence token, so that both write the same number of tokens;
- a decode loop with a key-value cache in which, at every step, onedraw and transformers' processors with
  `multinomial` each draw from the logits that the model has just written: the share of a step is
  sampling / (model + sampling), by medians over the steps.
"""

import argparse
import inspect
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache

from benchmarks.environment import describe
from benchmarks.filters import Filters
from benchmarks.peers import PEERS, Draw
from benchmarks.real import TEXT, load
from onedraw.generate import generate

FILTERS = Filters(temperature=0.8, top_k=50, top_p=0.9)
HERE = Path(__file__).parent
RESULTS = {"cpu": HERE / "decode.jsonl", "cuda": HERE / "decode-cuda.jsonl"}
PROMPT = 32
ROUNDS = 3
GREEDY_TOKENS = 8

Write = Callable[[Tensor], Tensor]


def now(x: Tensor) -> float:
    """The clock, once the device of `x` has done what it was given."""
    if x.is_cuda:
        torch.cuda.synchronize()
    return time.perf_counter()


def prompts(tokenizer: Any, batch: int) -> Tensor:
    """int64 [B, 32]: windows of a text, each at another place."""
    ids = torch.tensor(tokenizer(TEXT * 4).input_ids)
    return torch.stack([ids[row % 64 : row % 64 + PROMPT] for row in range(batch)])


def writers(model: Any, new_tokens: int, **settings: Any) -> dict[str, Write]:
    """The two loops: [B, T] prompts -> [B, T + new_tokens]."""

    def with_transformers(ids: Tensor) -> Tensor:
        sampled = settings.get("temperature") != 0
        chosen = settings if sampled else {}
        found: Tensor = model.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            do_sample=sampled,
            max_new_tokens=new_tokens,
            **chosen,
        )
        return found

    def with_onedraw(ids: Tensor) -> Tensor:
        found: Tensor = generate(
            model, ids, max_new_tokens=new_tokens, seed=1, progress=False, **settings
        )
        return found

    return {"onedraw": with_onedraw, "transformers": with_transformers}


def check_greedy(model: Any, ids: Tensor) -> None:
    """Both loops write the same greedy text, before any is timed."""
    texts = [write(ids) for write in writers(model, GREEDY_TOKENS, temperature=0).values()]
    if not torch.equal(texts[0], texts[1]):
        raise AssertionError("the greedy texts of the two loops differ")


def tokens_per_second(model: Any, ids: Tensor, new_tokens: int) -> dict[str, float]:
    """Medians of `ROUNDS`, in turn, after a short warm-up of each loop."""
    settings = {"temperature": 0.8, "top_k": 50, "top_p": 0.9}
    for write in writers(model, 2, **settings).values():
        write(ids)
    loops = writers(model, new_tokens, **settings)
    seconds: dict[str, list[float]] = {name: [] for name in loops}
    for turn in range(ROUNDS):
        for name in list(loops)[:: 1 if turn % 2 == 0 else -1]:
            begin = now(ids)
            text = loops[name](ids)
            seconds[name].append(now(ids) - begin)
            if text.shape[1] != ids.shape[1] + new_tokens:
                raise AssertionError(f"{name} wrote {text.shape[1] - ids.shape[1]} tokens")
    return {
        name: ids.shape[0] * new_tokens / statistics.median(times)
        for name, times in seconds.items()
    }


def step_times(model: Any, ids: Tensor, steps: int) -> dict[str, float]:
    """Median microseconds of a step's model call, and of each way to sample from its logits."""
    times: dict[str, list[float]] = {"model": [], "onedraw": [], "transformers": []}
    takes = inspect.signature(model.forward).parameters
    cache = {"cache" if "cache" in takes else "past_key_values": DynamicCache(config=model.config)}
    draws: dict[str, Draw] = {}
    with torch.inference_mode():
        for step in range(steps + 2):  # the prompt, and one step to warm up
            begin = now(ids)
            logits = model(ids, use_cache=True, **cache).logits[:, -1, :]
            model_s = now(ids) - begin
            if not draws:
                draws = {
                    "onedraw": PEERS["onedraw"].prepare(FILTERS, torch.get_num_threads(), logits),
                    "transformers": PEERS["huggingface"].prepare(FILTERS, 1, logits),
                }
            spent = {"model": model_s}
            for name in list(draws)[:: 1 if step % 2 == 0 else -1]:
                begin = now(logits)
                token = draws[name](logits)
                spent[name] = now(logits) - begin
                if name == "onedraw" and token is not None:
                    ids = token.unsqueeze(1)
            if step >= 2:
                for name, value in spent.items():
                    times[name].append(value)
    return {name: 1e6 * statistics.median(values) for name, values in times.items()}


def measure(model: Any, tokenizer: Any, batch: int, new_tokens: int) -> dict[str, Any]:
    ids = prompts(tokenizer, batch).to(model.device)
    check_greedy(model, ids)
    speed = tokens_per_second(model, ids, new_tokens)
    step = step_times(model, ids, new_tokens)
    record: dict[str, Any] = {
        "device": ids.device.type,
        "batch": batch,
        "prompt_tokens": PROMPT,
        "new_tokens": new_tokens,
        "threads": torch.get_num_threads(),
        "filters": FILTERS.arguments(),
        "model_us": step["model"],
        "speedup": speed["onedraw"] / speed["transformers"],
    }
    for name in ("onedraw", "transformers"):
        record[name] = {
            "tokens_per_s": speed[name],
            "sampling_us": step[name],
            "sampling_share": step[name] / (step["model"] + step[name]),
        }
    return record


def main() -> None:
    parser = argparse.ArgumentParser(description="tokens/s, and the share of sampling in a step")
    parser.add_argument("--batches", default="1,8,64")
    parser.add_argument("--new-tokens", type=int, default=48)
    parser.add_argument("--device", choices=tuple(RESULTS), default="cpu")
    parser.add_argument("--out", type=Path)
    chosen = parser.parse_args()
    model, tokenizer = load()
    model.to(chosen.device)
    model.generation_config.eos_token_id = None  # of both loops: every row runs to the end
    model.generation_config.pad_token_id = 0
    environment = describe()
    lines = []
    for batch in map(int, chosen.batches.split(",")):
        record = measure(model, tokenizer, batch, chosen.new_tokens)
        print(json.dumps(record), flush=True)
        lines.append(json.dumps({**record, "environment": environment}) + "\n")
    (chosen.out or RESULTS[chosen.device]).write_text("".join(lines))


if __name__ == "__main__":
    main()
