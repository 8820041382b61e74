"""Where the noise of a draw comes from: (seed, stream, position), and nothing else."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import NamedTuple

import torch
from torch import Tensor

from . import _core, devices
from .arrays import own
from .errors import shown
from .params import POSITION, SEED, STREAM, PerRow, Rule, number, per_row, signed

__all__ = [
    "LAST",
    "Noise",
    "check_generator",
    "check_range",
    "checked_seed",
    "derived_seed",
    "largest",
    "needs_seed",
    "noise",
    "seed_from",
    "seeds",
    "shares",
    "take_seeds",
]

LAST = 2**32 - 1

# The counter of a derived seed is (id low, id high, this, LAST). A draw's ends in its position and
# its stream (R5.1): one keyed by the same seed may read these words, too, but only at this position,
# 1,936,024,932 ("seed" in ASCII), of the last stream.
SEED_TAG = 0x73656564

REQUEST_IDS = Rule(
    "request_ids", "integers in [-2^63, 2^63 - 1]", False, off=0, low=-(2**63), high=2**63 - 1
)


class Noise(NamedTuple):
    """The key of a call's draws, as the binding takes it."""

    seed: PerRow
    stream: PerRow
    position: PerRow
    row_stream: bool  # row r draws from stream + r


def derived_seed(seed: int, request: int) -> int:
    """64 bits, as a signed integer, from the 64 bits of `seed` and those of `request`."""
    mask = 0xFFFFFFFF
    low, high, _, _ = _core.philox(
        request & mask, request >> 32 & mask, SEED_TAG, LAST, seed & mask, seed >> 32 & mask
    )
    return signed(low | high << 32)


def seeds(seed: int, request_ids: Iterable[int] | Tensor) -> Tensor:
    """One seed a request: what makes its text independent of its slot and of its batch mates.

    Parameters
    ----------
    seed : int
        The seed of the run, in [-2^63, 2^64 - 1].
    request_ids : iterable of int, or integer Tensor [n]
        What names a request for good: its index in the whole run, say, never its slot in the batch.

    Returns
    -------
    Tensor
        int64 [n], on the CPU, for `seed=`: Philox4x32-10 with the key `seed` and the id as its
        counter. The same on every machine; two ids of one run never share a seed by more than
        chance (2^-64).

    Examples
    --------
    >>> import onedraw
    >>> onedraw.seeds(0, [7, 8])
    tensor([-2089431655546327403, -5890734804958924128])
    >>> bool(onedraw.seeds(0, range(100))[7] == onedraw.seeds(0, [7])[0])
    True
    """
    base = int(number(SEED, seed))
    if isinstance(request_ids, Tensor):
        ids = per_row(REQUEST_IDS, request_ids)
        if not isinstance(ids, Tensor):
            raise ValueError(f"request_ids must be [n], got {shown(request_ids)}")
        values = ids.tolist()
    elif isinstance(request_ids, Iterable) and not isinstance(request_ids, (str, bytes)):
        values = [int(number(REQUEST_IDS, v, f"[{i}]")) for i, v in enumerate(request_ids)]
    else:
        raise TypeError(f"request_ids must be integers, one a request, got {shown(request_ids)}")
    return torch.tensor([derived_seed(base, v) for v in values], dtype=torch.int64, device="cpu")


# What seeds are drawn into. A tensor is out of the queue while it is in use: threads share none.
_spare: deque[Tensor] = deque(maxlen=4)


def seed_from(generator: torch.Generator | None) -> int:
    """A seed of 63 bits from `generator`, else from torch's default generator of the CPU."""
    if devices.capturing():
        raise RuntimeError(
            "seed must be given while a CUDA graph is captured: one taken now would be the seed of "
            "every replay (a Sampler takes its seed at its first draw, before the capture)"
        )
    if generator is not None:
        check_generator(generator)
        if generator.device.type != "cpu":
            return _seed_from_device(generator)
    try:
        cell = _spare.pop()
    except IndexError:
        cell = own(torch.zeros((), dtype=torch.int64, device="cpu"))
    seed = int(cell.random_(generator=generator))
    _spare.append(cell)
    return seed


def _seed_from_device(generator: torch.Generator) -> int:
    """A seed from a CUDA generator, which is a seed and an offset, both on the host."""
    state = generator.get_state()
    words = state.view(torch.int64)
    seed, offset = words.tolist()
    words[1] = offset + 4  # what torch itself takes for four numbers a thread
    generator.set_state(state)
    return derived_seed(seed, offset) & (2**63 - 1)


def check_generator(generator: object) -> None:
    """Refuse what is no torch.Generator of the CPU or of CUDA."""
    if not isinstance(generator, torch.Generator):
        raise TypeError(f"generator must be a torch.Generator, got {shown(generator)}")
    if generator.device.type not in ("cpu", "cuda"):
        raise ValueError(f"generator must be on the cpu or on CUDA, got one on {generator.device}")


def has_unseeded(seed: object) -> bool:
    """Whether `seed` is a list in which some rows have none."""
    return isinstance(seed, (list, tuple)) and any(value is None for value in seed)


def checked_seed(seed: object, generator: torch.Generator | None) -> PerRow:
    """A checked seed; what rows with None in a list are to have is left to `take_seeds`."""
    if generator is not None:
        check_generator(generator)
        if not has_unseeded(seed):
            raise ValueError("generator must be left out where every row has a seed, got both")
    return per_row(SEED, seed)


def take_seeds(checked: PerRow | None, seed: object, generator: torch.Generator | None) -> None:
    """Give rows with None in the list `seed` seeds derived from one of the generator, in `checked`.

    This comes after all checks: a call that is refused takes nothing from the generator.
    """
    if isinstance(seed, (list, tuple)) and isinstance(checked, Tensor) and has_unseeded(seed):
        base = seed_from(generator)
        for row, value in enumerate(seed):
            if value is None:
                checked[row] = derived_seed(base, row)


def needs_seed(name: str, value: object) -> None:
    """Refuse `value`, which without a seed says nothing."""
    if value is not None:
        raise ValueError(
            f"seed must be given with {name}: the noise is a function of both; got no seed and the "
            f"{name} {shown(value)}"
        )


def noise(
    seed: object, stream: object, position: object, generator: torch.Generator | None
) -> Noise:
    """The key of a stateless call: seed and position, or neither and a seed of the generator.

    A seed is taken only where nothing is left that could be refused; `take_seeds` is for the rest.
    """
    if seed is None:
        needs_seed("position", position)
        needs_seed("stream", stream)
        return Noise(seed_from(generator), 0, 0, row_stream=True)
    if position is None:
        raise ValueError(
            "position must be given with seed: the index of the token being drawn in its request "
            "(the same noise at every step is a mistake); got no position and the seed "
            f"{shown(seed)}"
        )
    key = checked_seed(seed, generator)
    of_stream = 0 if stream is None else per_row(STREAM, stream)
    return Noise(key, of_stream, per_row(POSITION, position), shares(key, of_stream))


def shares(seed: PerRow, stream: PerRow) -> bool:
    """Whether all rows have one seed and stream: then row r draws from stream + r.

    Else all rows would draw with equal noise.
    """
    return not any(isinstance(value, Tensor) and value.dim() for value in (seed, stream))


def check_range(name: str, first: int, count: int, what: str) -> None:
    """Refuse a stream or position that one of `count` rows or steps would carry past 2^32 - 1."""
    if first + count - 1 > LAST:
        raise ValueError(
            f"{name} must be in [0, 2^32 - 1] for every {what}, got {first} and {count} {what}s"
        )


def largest(value: PerRow) -> int:
    """The largest of one value a row, or the value; 0 of a tensor on a device: the kernel checks it."""
    if isinstance(value, Tensor):
        if devices.on_cuda(value):
            return 0
        return int(value.max()) if value.numel() else 0
    return int(value)
