"""vLLM itself with the plugin: seeded requests, every sampling parameter, chunks, preemption, a fault, a server."""

import random
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

import onedraw
import onedraw.models

sys.path.append(str(Path(__file__).parent))

from engine import HERE, PYTHON, environment

pytestmark = pytest.mark.slow

TEXTS = [
    "Once upon a time", "The capital of France is", "To be or not", "A person", "In 1969",
    "The man walked the", "Water boils at", "My favourite colour", "The results show that",
]  # fmt: skip
SETTINGS: dict[str, Any] = {"temperature": 0.8, "top_k": 50, "top_p": 0.9, "max_tokens": 12}


@pytest.fixture(scope="module")
def prompts():
    _, tokenizer = onedraw.models.load()
    return [tokenizer(text)["input_ids"] for text in TEXTS]


def ids(answers: Any) -> list[list[int]]:
    return [sample["ids"] for samples in answers for sample in samples]


def test_alone_in_a_batch_in_any_order(vllm, prompts):
    """64 requests, seeded: one by one, all at once, shuffled; with other requests and greedy ones between."""
    many = [prompts[i % len(prompts)] for i in range(64)]
    params = [SETTINGS | {"seed": i} for i in range(64)]
    order = random.Random(0).sample(range(64), 64)
    some = list(range(0, 64, 8))
    strangers = [{"temperature": 0.0, "max_tokens": 12}, {"temperature": 1.3, "max_tokens": 9}]
    mixed = [(many[i], params[i]) for i in some] + [(many[1], p) for p in strangers]
    (batch, shuffled, mix, *alone), _ = vllm.ask(
        (many, params),
        ([many[i] for i in order], [params[i] for i in order]),
        ([p for p, _ in mixed], [s for _, s in mixed]),
        *(([many[i]], [params[i]]) for i in some),
    )
    expected = ids(batch)
    assert len({tuple(found) for found in expected}) > 40
    assert ids(shuffled) == [expected[i] for i in order]
    assert ids(mix)[: len(some)] == [expected[i] for i in some]
    assert [ids(one)[0] for one in alone] == [expected[i] for i in some]


def test_the_text_is_the_one_that_generate_writes(vllm, prompts):
    """Another engine, other kernels for the model; the draw is the same function of seed and position."""
    settings = {"temperature": 0.8, "top_k": 50}
    (answers,), _ = vllm.ask(
        (prompts, [settings | {"seed": 40 + i, "max_tokens": 20} for i in range(9)])
    )
    model, _ = onedraw.models.load()
    for i, prompt in enumerate(prompts):
        text = onedraw.generate(
            model.to(torch.float32),
            [prompt],
            **settings,
            ties="keep",
            seed=torch.tensor([40 + i]),
            max_new_tokens=20,
        )
        assert text[0, len(prompt) :].tolist() == answers[i][0]["ids"]


def test_sampling_parameters(vllm, prompts):
    """What vLLM does before the draw, and after it, stays vLLM's own."""
    one = {"temperature": 1.0, "seed": 3, "max_tokens": 8}
    asked = {
        "greedy": {"temperature": 0.0},
        "allowed": {"allowed_token_ids": [100, 200, 300]},
        "bias": {"logit_bias": {"77": 100.0}},
        "bad words": {"bad_words": [" the", " a", ","], "top_p": 0.9},
        "min tokens": {"min_tokens": 8, "logit_bias": {"2": 50.0}},
        "penalties": {
            "repetition_penalty": 1.3,
            "presence_penalty": 1.0,
            "frequency_penalty": 1.0,
            "top_k": 5,
        },
        "min_p": {"min_p": 0.2},
        "min_p, then top_p": {"min_p": 0.2, "top_p": 0.5},
        "samples": {"n": 3},
        "logprobs": {"logprobs": 3, "top_k": 5},
        "stop": {"stop": ["e"], "max_tokens": 40},
        "one token left": {"top_k": 1},
    }
    calls = [([prompts[0]] * len(asked), [one | settings for settings in asked.values()])]
    (answers,), _ = vllm.ask(*calls)
    (stock,), _ = vllm.ask(*calls, plugin=False)
    found = dict(zip(asked, answers, strict=True))
    own = dict(zip(asked, stock, strict=True))
    assert found["greedy"] == own["greedy"]
    assert ids([found["one token left"]]) == ids([own["one token left"]])
    assert set(ids([found["allowed"]])[0]) <= {100, 200, 300}
    assert len(set(ids([found["allowed"]])[0])) > 1
    assert ids([found["bias"]])[0] == [77] * 8
    assert not any(word in found["bad words"][0]["text"] for word in (" the ", " a ", ","))
    assert 2 not in ids([found["min tokens"]])[0][:7]
    assert len(set(map(tuple, ids([found["samples"]])))) == 3
    assert all(len(at) >= 3 for at in found["logprobs"][0]["logprobs"])
    assert found["stop"][0]["text"].count("e") == 0
    for name in ("penalties", "min_p", "min_p, then top_p"):
        assert len(found[name][0]["ids"]) == 8


@pytest.mark.parametrize(
    "mode", ["processed_logits", "processed_logprobs", "raw_logprobs", "raw_logits"]
)
def test_the_draw_does_not_depend_on_what_is_shown(vllm, prompts, mode):
    plain = {"temperature": 0.7, "top_k": 4, "seed": 5, "max_tokens": 8}
    (answers,), _ = vllm.ask(
        ([prompts[0]] * 2, [plain, plain | {"logprobs": 8}]), logprobs_mode=mode
    )
    assert answers[0][0]["ids"] == answers[1][0]["ids"]
    for token, at in zip(answers[1][0]["ids"], answers[1][0]["logprobs"], strict=True):
        assert at[str(token)] > float("-inf")
        if mode.startswith("processed"):
            assert sum(value > float("-inf") for value in at.values()) == 4


def test_chunks_of_a_prompt_and_preemption(vllm, prompts):
    """A cache too small for all at once: vLLM takes requests out and computes them anew, in chunks."""
    long = [prompt * (100 // len(prompt)) for prompt in prompts]
    calls = [(long, [SETTINGS | {"seed": i, "max_tokens": 60} for i in range(len(long))])]
    (roomy,), log = vllm.ask(*calls)
    assert "preempted: 0" in log
    (tight,), log = vllm.ask(
        *calls,
        enable_chunked_prefill=True,
        max_num_batched_tokens=64,
        num_gpu_blocks_override=7,
        block_size=128,
        max_model_len=256,
    )
    assert ids(tight) == ids(roomy)
    assert re.search(r"preempted: [1-9]", log), log[-300:]


def test_a_fault_leaves_the_engine_running(vllm, prompts):
    (answers,), log = vllm.ask((prompts, [SETTINGS | {"seed": 1}] * len(prompts)), broken=3)
    assert "vLLM's own sampler draws from here on" in log
    assert "planted" in log
    assert [len(found) for found in ids(answers)] == [12] * len(prompts)


@contextmanager
def server(folder: Path, log: Path) -> Any:
    """The server that speaks OpenAI's language, on the loopback."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [
        PYTHON,
        "-m",
        "vllm.entrypoints.openai.api_server",
        "--model",
        folder,
        "--port",
        port,
    ]
    command += [
        "--host",
        "127.0.0.1",
        "--dtype",
        "float32",
        "--enforce-eager",
        "--max-model-len",
        512,
    ]
    command += ["--served-model-name", "served"]
    own = environment(plugin=True) | {"VLLM_CPU_KVCACHE_SPACE": "1"}
    with log.open("w") as out:
        process = subprocess.Popen(
            [str(word) for word in command],
            stdout=out,
            stderr=out,
            env=own,
            cwd=folder,
            start_new_session=True,
        )
    try:
        end = time.monotonic() + 300
        while True:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5)
                break
            except OSError:
                assert process.poll() is None, log.read_text()[-4000:]
                assert time.monotonic() < end, log.read_text()[-4000:]
                time.sleep(1)
        yield port
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(60)
        finally:
            process.kill()


def test_a_server_and_its_client(vllm, tmp_path):
    """The client of OpenAI: 16 requests at once, then alone; the same texts for the same seeds."""
    log = tmp_path / "server.log"
    with server(vllm.folder, log) as port:
        done = subprocess.run(
            [PYTHON, HERE / "client.py", str(port)],
            capture_output=True,
            text=True,
            timeout=300,
        )
    assert done.returncode == 0, done.stderr[-3000:] + log.read_text()[-3000:]
    assert "onedraw draws the tokens" in log.read_text()
    assert done.stdout.split() == ["equal", "12", "different"]


def test_batches_over_ray(vllm):
    """The recipe of the documentation, with the work in one batch and in three."""
    done = subprocess.run(
        [PYTHON, HERE / "rays.py", vllm.folder],
        capture_output=True,
        text=True,
        env=environment(plugin=True),
        cwd=vllm.folder,
        timeout=500,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    assert done.stdout.split()[-2:] == ["equal", "5"]
    assert "onedraw draws the tokens" in done.stderr + done.stdout
