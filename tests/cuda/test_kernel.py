"""The CUDA kernel against the CPU's, all outputs, bit for bit."""

import random
import sys
from pathlib import Path

import pytest
import torch

sys.path.append(str(Path(__file__).parent))

from cuda_job import Case, differences

INF = float("inf")
KINDS = (
    *("normal", "half", "bfloat", "peaked", "flat", "ties"),
    *("wide", "holes", "rare", "nan", "equal"),
)


def random_logits(r: random.Random, rows: int, vocab: int) -> torch.Tensor:
    g = torch.Generator().manual_seed(r.getrandbits(60))
    x = torch.randn(rows, vocab, generator=g) * r.choice([0.5, 3, 8])
    pick = torch.rand(rows, vocab, generator=g)
    kind = r.choice(KINDS)
    if kind == "peaked":
        x[:, r.randrange(vocab)] += 30
    if kind == "flat":
        x = 0.01 * pick
    if kind == "ties":
        x = (2 * x).round() / 2
    if kind == "equal":
        x = torch.full_like(x, r.choice([0.0, -3.5, 1e30]))
    if kind == "wide":
        x = x * 10.0 ** r.choice([2, 5, 8, 20, 36])
    if kind == "holes":
        x[pick < 0.3] = -INF
        x[pick > 0.95] = INF
    if kind == "rare":
        x[pick < 0.97] = -INF
    if kind == "nan":
        x[0, r.randrange(vocab)] = float("nan")
    return {"half": x.half(), "bfloat": x.bfloat16()}.get(kind, x)


def random_case(seed: int, most: int) -> Case:
    r = random.Random(seed)
    rows = r.choice([1, 2, 3])
    vocab = r.choice([1, 2, 7, 63, 64, 65, 128, 200, 1000, r.randint(1, most)])
    x = random_logits(r, rows, vocab)
    g = torch.Generator().manual_seed(r.getrandbits(60))
    noise = {"seed": r.getrandbits(62), "position": r.getrandbits(31), "stream": r.getrandbits(20)}
    if r.random() < 0.15:
        flags = {"weights": True, "num_samples": r.choice([1, 3]), "replacement": r.random() < 0.5}
        return Case(x.float().abs(), noise, flags)
    per_row = r.random() < 0.3

    def some(values: list[float], dtype: torch.dtype) -> object:
        if per_row:
            return torch.tensor([r.choice(values) for _ in range(rows)], dtype=dtype)
        return r.choice(values)

    case = Case(
        x,
        {
            "temperature": some([1.0, 0.8, 0.3, 1e-6, 1e-3, 1e6, 0.0, 2.0], torch.float32),
            "top_k": some([0, 0, 1, 5, 50, 700, vocab], torch.int64),
            "top_p": some([1.0, 0.9, 0.5, 0.999, 1e-9], torch.float32),
            "min_p": some([0.0, 0.0, 0.05, 1.0, 1e-4, 1e-30], torch.float32),
            **noise,
        },
        {"ties_keep": r.random() < 0.3, "row_stream": r.random() < 0.5},
        top=r.choice([1, 4]),
    )
    if r.random() < 0.25:
        case.allowed = torch.rand(rows, vocab, generator=g) < 0.6
    elif r.random() < 0.2:
        words = (rows, (vocab + 31) // 32)
        case.allowed = torch.randint(-(2**31), 2**31 - 1, words, dtype=torch.int32, generator=g)
    if r.random() < 0.2:
        case.bias = torch.randn(rows, vocab, generator=g)
    if r.random() < 0.2:
        ids = [
            sorted(r.sample(range(vocab), min(vocab, r.choice([0, 1, 10])))) for _ in range(rows)
        ]
        ends = [sum(map(len, ids[:i])) for i in range(rows + 1)]
        flat = torch.tensor([i for row in ids for i in row], dtype=torch.int64)
        case.sparse = (torch.tensor(ends), flat, 3 * torch.randn(len(flat), generator=g))
    return case


@pytest.mark.parametrize("seed", range(60))
def test_small_rows(device, seed):
    assert not differences(random_case(seed, 3000), device)


@pytest.mark.parametrize("seed", range(6))
def test_split_rows(device, seed):
    case = random_case(1000 + seed, 40_000)
    case.logits = random_logits(random.Random(seed), case.logits.shape[0], 20_000 + 77 * seed)
    case.allowed = case.bias = case.sparse = None
    if case.flags.get("weights"):
        case.logits = case.logits.float().abs()
    assert not differences(case, device)
