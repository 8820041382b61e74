"""Tokens a second of vLLM with the plugin and without it, in one engine, in turn.

    .venv-vllm/bin/python benchmarks/vllm_throughput.py MODEL [--batches 1,8,64] [--new-tokens 32] [--rounds 3]

`make vllm` makes that environment. MODEL is a folder with safetensors, or a name on a hub. All requests
are sent at once, with prompts of 32 tokens and without an end token, so that each writes the same number;
the engine is vLLM's own, offline, in this process: `onedraw.vllm.uninstall` and `install` change who
draws. It prints a table in Markdown: medians.
"""

import argparse
import os
import statistics
import time
from typing import Any

os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "2")
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"

import vllm

import onedraw.vllm

SETTINGS: dict[str, dict[str, Any]] = {
    "top-k 50, top-p 0.9": {"temperature": 0.8, "top_k": 50, "top_p": 0.9},
    "top-p 0.9": {"temperature": 0.8, "top_p": 0.9},
    "no filter": {"temperature": 0.8},
    "penalties": {"temperature": 0.8, "repetition_penalty": 1.1, "frequency_penalty": 0.2},
    "greedy": {"temperature": 0.0},
}
PROMPT = 32


def seconds(engine: vllm.LLM, batch: int, new_tokens: int, settings: dict[str, Any]) -> float:
    prompts = [{"prompt_token_ids": list(range(100 + i, 100 + i + PROMPT))} for i in range(batch)]
    params = [
        vllm.SamplingParams(**settings, seed=i, max_tokens=new_tokens, ignore_eos=True)
        for i in range(batch)
    ]
    started = time.perf_counter()
    answers = engine.generate(prompts, params, use_tqdm=False)
    taken = time.perf_counter() - started
    assert all(len(answer.outputs[0].token_ids) == new_tokens for answer in answers)
    return taken


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("model")
    parser.add_argument("--batches", default="1,8,64")
    parser.add_argument("--new-tokens", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--dtype", default="float32")
    chosen = parser.parse_args()
    batches = [int(batch) for batch in chosen.batches.split(",")]
    engine = vllm.LLM(
        chosen.model,
        dtype=chosen.dtype,
        enforce_eager=True,
        max_model_len=512,
        max_num_seqs=max(batches),
        enable_prefix_caching=False,
    )
    print(
        f"| vLLM {vllm.__version__}, tokens/s | batch | vLLM | onedraw | ratio |\n| --- | --- | --- | --- | --- |"
    )
    for name, settings in SETTINGS.items():
        for batch in batches:
            times: dict[str, list[float]] = {"vLLM": [], "onedraw": []}
            for turn in range(chosen.rounds + 1):
                for who, change in (
                    ("vLLM", onedraw.vllm.uninstall),
                    ("onedraw", onedraw.vllm.install),
                ):
                    change()
                    taken = seconds(engine, batch, chosen.new_tokens, settings)
                    if turn:  # the first warms up
                        times[who].append(taken)
            rate = {
                who: batch * chosen.new_tokens / statistics.median(t) for who, t in times.items()
            }
            ratio = rate["onedraw"] / rate["vLLM"]
            print(
                f"| {name} | {batch} | {rate['vLLM']:.1f} | {rate['onedraw']:.1f} | {ratio:.2f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
