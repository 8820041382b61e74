"""Milliseconds a draw of llama.cpp's own samplers, and of onedraw's, on the candidates of one token.

    python -m benchmarks.llama_chain [--threads 1] [--rounds 7]

Needs llama-cpp-python. The rows are SmolLM2's own (V = 49,152) after a text, and LM-like ones (V = 128,256,
`benchmarks.data`). Before each draw, and not counted, the candidates are written anew, as llama.cpp writes
them: whole, in the order of their ids. Both peers draw in turn, and what onedraw draws is compared with
`onedraw.sample` before anything is timed. It prints a table in Markdown: medians of all draws.
"""

import argparse
import ctypes
import statistics
import time
from typing import Any

import llama_cpp
import numpy as np
import torch
from numpy.typing import NDArray

import onedraw
import onedraw.llama_cpp
import onedraw.models
from benchmarks.data import lm_like
from benchmarks.real import TEXT

ENTRY = np.dtype([("id", np.int32), ("logit", np.float32), ("p", np.float32)])
CASES: dict[str, dict[str, Any]] = {
    "greedy": {"temperature": 0.0},
    "top-k 50, top-p 0.9": {"temperature": 0.8, "top_k": 50, "top_p": 0.9},
    "min-p 0.05": {"temperature": 0.8, "min_p": 0.05},
    "temperature 0.8": {"temperature": 0.8},
    "top-p 0.9": {"temperature": 0.8, "top_p": 0.9},
}
ROWS = 8


def chain(*samplers: Any) -> Any:
    made = llama_cpp.llama_sampler_chain_init(llama_cpp.llama_sampler_chain_default_params())
    for sampler in samplers:
        llama_cpp.llama_sampler_chain_add(made, sampler)
    return made


def theirs(
    temperature: float, top_k: int | None = None, top_p: float | None = None, min_p: float = 0.0
) -> Any:
    """llama.cpp's samplers in its own order: the temperature is the last."""
    if not temperature:
        return chain(llama_cpp.llama_sampler_init_greedy())
    made = [llama_cpp.llama_sampler_init_top_k(top_k)] if top_k else []
    made += [llama_cpp.llama_sampler_init_top_p(top_p, 1)] if top_p else []
    made += [llama_cpp.llama_sampler_init_min_p(min_p, 1)] if min_p else []
    made.append(llama_cpp.llama_sampler_init_temp(temperature))
    return chain(*made, llama_cpp.llama_sampler_init_dist(1))


class Candidates:
    """One array, into which rows of logits [B, V] are written in turn."""

    def __init__(self, logits: NDArray[np.float32]) -> None:
        self.rows = [np.zeros(logits.shape[1], ENTRY) for _ in logits]
        for row, values in zip(self.rows, logits, strict=True):
            row["id"], row["logit"] = np.arange(len(row)), values
        self.memory = self.rows[0].copy()
        self.array = llama_cpp.llama_token_data_array()

    def draw(self, sampler: Any, row: int) -> tuple[int, float]:
        """The token, and the seconds."""
        self.memory[:] = self.rows[row % len(self.rows)]
        self.array.data = self.memory.ctypes.data_as(llama_cpp.llama_token_data_p)
        self.array.size, self.array.selected, self.array.sorted = len(self.memory), -1, False
        at = ctypes.byref(self.array)
        began = time.perf_counter()
        llama_cpp.llama_sampler_apply(sampler, at)
        seconds = time.perf_counter() - began
        return self.array.data[self.array.selected].id, seconds


def smollm2() -> NDArray[np.float32]:
    file, _ = onedraw.models._gguf_file()
    llm = llama_cpp.Llama(str(file), n_ctx=512, logits_all=True, verbose=False)
    llm.eval(llm.tokenize(TEXT.encode())[:256])
    logits = np.array(llm.scores[llm.n_tokens - ROWS : llm.n_tokens])
    llm.close()
    return logits


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=7)
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    synthetic = lm_like(ROWS, 128256, torch.Generator().manual_seed(0)).numpy()
    print("| | logits | llama.cpp, ms | onedraw, ms | ratio |\n| --- | --- | --- | --- | --- |")
    for name, settings in CASES.items():
        for source, logits in (("SmolLM2", smollm2()), ("LM-like, V = 128,256", synthetic)):
            candidates, ours = Candidates(logits), onedraw.llama_cpp.sampler(**settings, seed=1)
            peers = theirs(**settings), chain(ours.pointer)
            for row, values in enumerate(torch.from_numpy(logits)):
                ours.position = row
                expected = onedraw.sample(values, **settings, seed=1, position=row)
                assert candidates.draw(peers[1], row)[0] == expected
            times: list[list[float]] = [[], []]
            for _ in range(chosen.rounds):
                for peer, taken in zip(peers, times, strict=True):
                    taken += [candidates.draw(peer, row)[1] for row in range(2 * ROWS)]
            ours.check()
            for peer in peers:
                llama_cpp.llama_sampler_free(peer)
            a, b = (1000 * statistics.median(taken) for taken in times)
            print(f"| {name} | {source} | {a:.2f} | {b:.2f} | {a / b:.1f} |", flush=True)


if __name__ == "__main__":
    main()
