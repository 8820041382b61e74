"""A row's answer does not depend on how it was computed.

Given the same logits, parameters, seed, stream and position, the token is the same bit for bit,
whatever kernel, thread count, batch, order, padding, stride, dtype or division into calls.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import Tensor

import onedraw
from onedraw import _core

ROWS = 12
SETTINGS = {
    "greedy": {"temperature": 0.0},
    "temperature": {"temperature": 0.8},
    "top-k": {"top_k": 50},
    "top-p": {"top_p": 0.9},
    "min-p": {"min_p": 0.02},
    "all": {"temperature": 1.2, "top_k": 300, "top_p": 0.95, "min_p": 0.001},
    "tied": {"top_k": 50, "top_p": 0.9, "ties": "keep"},
}
FIELDS = ("token", "num_kept", "rank", "status")

every_setting = pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS.keys())


def logits_of(vocab: int) -> Tensor:
    """bfloat16-valued float32 [12, V]: tied often, and the same in every dtype."""
    generator = torch.Generator().manual_seed(vocab)
    tail = torch.empty(ROWS, vocab).exponential_(1 / 1.5, generator=generator)
    return (tail + 0.8 * torch.randn(ROWS, vocab, generator=generator)).bfloat16().float()


LOGITS = {vocab: logits_of(vocab) for vocab in (1, 63, 64, 1000, 50_257)}
SEED = torch.arange(ROWS) * 7919 - 3
STREAM = torch.arange(ROWS) % 3
POSITION = torch.arange(ROWS) * 11 + 2


def answer(logits: Tensor, settings: dict, rows: Tensor | slice = slice(None)) -> list[Tensor]:
    """The integer results for rows of `LOGITS` with the noise that belongs to these rows."""
    result = onedraw.draw(
        logits,
        seed=SEED[rows],
        stream=STREAM[rows],
        position=POSITION[rows],
        report=("rank",),
        **settings,
    )
    return [getattr(result, field) for field in FIELDS]


def same(first: list[Tensor], second: list[Tensor]) -> bool:
    return all(torch.equal(one, other) for one, other in zip(first, second, strict=True))


def forms(vocab: int) -> Iterator[tuple[str, Tensor]]:
    """The same values in other memory."""
    logits = LOGITS[vocab]
    yield "bfloat16", logits.bfloat16()
    if vocab != 1:
        yield ("columns of a wider matrix", torch.nn.functional.pad(logits, (3, 5))[:, 3:-5])
    yield "every other row", logits.repeat_interleave(2, dim=0)[::2]
    yield "the last step", torch.stack([torch.zeros_like(logits), logits], dim=1)[:, -1]
    odd = torch.empty(logits.numel() + 1)[1:].view_as(logits)
    yield "unaligned memory", odd.copy_(logits)


@every_setting
@pytest.mark.parametrize("vocab", LOGITS)
def test_memory_layout_and_dtype(kernel: str, vocab: int, settings: dict) -> None:
    expected = answer(LOGITS[vocab], settings)
    for name, logits in forms(vocab):
        assert same(answer(logits, settings), expected), name


@every_setting
def test_float16(kernel: str, settings: dict) -> None:
    """Values that float16 and float32 share."""
    logits = LOGITS[1000].half()
    assert same(answer(logits, settings), answer(logits.float(), settings))


@every_setting
@pytest.mark.parametrize("vocab", LOGITS)
def test_kernels(vocab: int, settings: dict) -> None:
    """Every kernel that runs here, one after the other, token, rank, kept set and probabilities."""
    names = [entry["name"] for entry in _core.kernels() if entry["supported"]]
    found = {}
    chosen = _core.kernel()
    try:
        for name in names:
            _core.set_kernel(name)
            found[name] = [
                *answer(LOGITS[vocab], settings),
                onedraw.kept_mask(LOGITS[vocab], **settings),
                onedraw.probs(LOGITS[vocab], **settings),
            ]
    finally:
        _core.set_kernel(chosen)
    for name in names[1:]:
        assert same(found[name], found[names[0]]), (name, names[0])


@every_setting
@pytest.mark.parametrize("batch", [1, ROWS])
def test_thread_count(kernel: str, batch: int, settings: dict) -> None:
    """Rows over threads, and parts of one row."""
    rows = slice(0, batch)
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        expected = answer(LOGITS[50_257][rows], settings, rows)
        for number in (2, 3, 7):
            torch.set_num_threads(number)
            assert same(answer(LOGITS[50_257][rows], settings, rows), expected), number
    finally:
        torch.set_num_threads(threads)


@every_setting
@pytest.mark.parametrize("size", [1, 2, 5])
def test_batch_size(kernel: str, size: int, settings: dict) -> None:
    """One call for all rows, and calls of a few rows each."""
    expected = answer(LOGITS[1000], settings)
    parts = [
        answer(LOGITS[1000][first : first + size], settings, slice(first, first + size))
        for first in range(0, ROWS, size)
    ]
    assert same([torch.cat(field) for field in zip(*parts, strict=True)], expected)


@every_setting
def test_order_of_rows(kernel: str, settings: dict) -> None:
    expected = answer(LOGITS[1000], settings)
    order = torch.randperm(ROWS, generator=torch.Generator().manual_seed(1))
    found = answer(LOGITS[1000][order], settings, order)
    assert same(found, [field[order] for field in expected])


@every_setting
def test_batch_mates(kernel: str, settings: dict) -> None:
    """Rows of padding around a row, good ones and bad ones, do not touch it."""
    expected = answer(LOGITS[1000], settings)
    padding = torch.full((3, 1000), float("nan"))
    padding[1] = -torch.inf
    padding[2] = 4.0
    result = onedraw.draw(
        torch.cat([padding, LOGITS[1000], padding]),
        seed=torch.cat([SEED[:3], SEED, SEED[:3]]),
        stream=torch.cat([STREAM[:3], STREAM, STREAM[:3]]),
        position=torch.cat([POSITION[:3], POSITION, POSITION[:3]]),
        report=("rank",),
        raise_on_bad=False,
        **settings,
    )
    assert same([getattr(result, field)[3:-3] for field in FIELDS], expected)
    assert result.status[:3].tolist() == [1, 2, 0]


def test_mixed_settings(kernel: str) -> None:
    """Rows with different parameters in one call give what each gives alone."""
    chosen = [
        SETTINGS[name] for name in ("greedy", "temperature", "top-k", "top-p", "min-p", "all")
    ]
    off = {"temperature": 1.0, "top_k": 0, "top_p": 1.0, "min_p": 0.0}
    rows = [{**off, **settings} for settings in chosen * 2]
    together = answer(LOGITS[1000], {name: [row[name] for row in rows] for name in off})
    for index, settings in enumerate(rows):
        row = slice(index, index + 1)
        alone = answer(LOGITS[1000][row], settings, row)
        assert same(alone, [field[row] for field in together]), settings


@every_setting
def test_steps_are_positions(kernel: str, settings: dict) -> None:
    """[B, T, V] is T calls at the positions that follow each other."""
    logits = LOGITS[1000].view(4, 3, 1000)
    seed, stream, position = SEED[:4], STREAM[:4], POSITION[:4]
    together = onedraw.sample(logits, seed=seed, stream=stream, position=position, **settings)
    for step in range(3):
        alone = onedraw.sample(
            logits[:, step], seed=seed, stream=stream, position=position + step, **settings
        )
        assert torch.equal(together[:, step], alone)


@every_setting
def test_python_threads(kernel: str, settings: dict) -> None:
    """Eight Python threads at once, on the same logits."""
    expected = answer(LOGITS[1000], settings)
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: answer(LOGITS[1000], settings), range(64)))
    assert all(same(one, expected) for one in found)


@every_setting
def test_denormals(kernel: str, settings: dict) -> None:
    """`torch.set_flush_denormal` changes no answer, and is found as it was left."""
    logits = LOGITS[1000] * 1e-40
    logits[:, ::9] *= 3
    expected = answer(logits, settings)
    tiny = torch.tensor([1e-40])
    try:
        if not torch.set_flush_denormal(True):
            pytest.skip("this processor has no such mode")
        assert same(answer(logits, settings), expected)
        assert float(tiny + tiny) == 0.0
    finally:
        torch.set_flush_denormal(False)


def test_sampler_functions_and_draw_agree(kernel: str) -> None:
    """`Sampler`, `sample` and `draw` give one answer for one place in the noise."""
    logits = LOGITS[1000]
    sampler = onedraw.Sampler(top_p=0.9, seed=SEED, position=POSITION)
    first, second = sampler(logits), sampler(logits)
    for tokens, position in ((first, POSITION), (second, POSITION + 1)):
        at = {"seed": SEED, "stream": 0, "position": position, "top_p": 0.9}
        assert torch.equal(tokens, onedraw.sample(logits, **at))
        assert torch.equal(tokens, onedraw.draw(logits, report="all", **at).token)
