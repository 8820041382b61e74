"""The Sampler of a run: the parameters of B requests, spread over the rows of their samples."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..errors import shown
from ..params import (
    MIN_P,
    STREAM,
    TEMPERATURE,
    TOP_K,
    TOP_P,
    PerRow,
    Rule,
    SamplingParams,
    merge,
    per_row,
    ties_keep,
)
from ..randomness import (
    check_generator,
    check_range,
    checked_seed,
    largest,
    needs_seed,
    seed_from,
    seeds,
    take_seeds,
)
from ..sampler import Sampler
from .spreading import spread, spread_bias, spread_mask

__all__ = ["Given", "RowSampler", "given_params", "row_sampler"]

FILTERS = (TEMPERATURE, TOP_K, TOP_P, MIN_P)


class Given(NamedTuple):
    """What the caller said about the draws: numbers, one a request, or None (in the order of FIELDS)."""

    temperature: Any
    top_k: Any
    top_p: Any
    min_p: Any
    ties: Any
    seed: Any
    stream: Any


def given_params(params: Any, requests: int, *given: Any) -> Given:
    """Keywords `given`, in the order of FIELDS, over `params`: one SamplingParams, or a list with one a request."""
    if params is None:
        return Given(*given)
    if isinstance(params, (list, tuple)) and len(params) != requests:
        raise ValueError(f"params must have one entry a request, {requests}, got {len(params)}")
    return Given(*merge(params, *given))


class RowSampler(NamedTuple):
    """A Sampler for R = B * samples rows, and what it was made with."""

    sampler: Sampler
    allowed: Any  # as given, spread over the rows
    params: list[SamplingParams]  # one a row
    seed: int | None  # the one seed of the run, if there was one


def row_sampler(
    given: Given,
    checkpoint: dict[str, Any],
    *,
    do_sample: bool | None,
    generator: torch.Generator | None,
    allowed: Any,
    logit_bias: Any,
    lengths: Tensor,
    samples: int,
    raise_on_bad: bool = True,
    fallback: str | None = None,
) -> RowSampler:
    """Settle the parameters of B requests with prompts of `lengths` [B] tokens, and build their Sampler."""
    requests = lengths.shape[0]
    values = {
        rule.name: _of_requests(rule, value, requests)
        for rule, value in zip(FILTERS, _filters(given, checkpoint, do_sample), strict=True)
    }
    greedy = not isinstance(values["temperature"], Tensor) and values["temperature"] == 0
    ties_keep(given.ties)
    stream = _of_requests(STREAM, 0 if given.stream is None else given.stream, requests)
    check_range("stream", largest(stream), samples, "sample")
    streams = torch.arange(samples, device="cpu") + (
        stream.unsqueeze(1)
        if isinstance(stream, Tensor)
        else torch.full((requests, 1), int(stream), device="cpu")
    )
    allowed = spread_mask(allowed, requests, samples)
    logit_bias = spread_bias(logit_bias, requests, samples)
    base, seed = _seed(given, generator, requests, greedy=greedy)  # last: a refused call takes none
    rows = {name: spread(value, samples) for name, value in values.items()}
    rows |= {"seed": spread(seed, samples), "stream": streams.flatten()}
    sampler = Sampler(
        **rows,
        ties=given.ties,
        position=_one_or_all(spread(lengths.cpu(), samples)),
        allowed=allowed,
        logit_bias=logit_bias,
        raise_on_bad=raise_on_bad,
        fallback=fallback,
    )
    return RowSampler(sampler, allowed, _records(rows, given.ties, requests * samples), base)


def _one_or_all(values: Tensor) -> PerRow:
    """The value that all rows share, if they do: the Sampler counts a number faster than a tensor."""
    first = int(values[0]) if values.numel() else 0
    return first if bool((values == first).all()) else values


def _filters(given: Given, checkpoint: dict[str, Any], do_sample: bool | None) -> list[Any]:
    """temperature, top_k, top_p and min_p: as given, else as the checkpoint sets them, else off."""
    if do_sample is not None and not isinstance(do_sample, bool):
        raise TypeError(f"do_sample must be True, False or None, got {shown(do_sample)}")
    asked = {rule.name: getattr(given, rule.name) for rule in FILTERS}
    named = [name for name, value in asked.items() if value is not None]
    if do_sample is False and named:
        raise ValueError(
            f"do_sample must be left out, or True, where {named[0]} is given, got do_sample=False and "
            f"{named[0]}={shown(asked[named[0]])}"
        )
    if do_sample is False or (
        do_sample is None and not named and checkpoint.get("do_sample") is False
    ):
        return [0.0, None, None, None]
    filled = []
    for rule in FILTERS:
        value, default = asked[rule.name], checkpoint.get(rule.name)
        if value is None:
            value = default
        elif isinstance(value, (list, tuple)) and default is not None:
            value = [default if v is None else v for v in value]
        filled.append(value)
    return filled


def _of_requests(rule: Rule, value: Any, requests: int) -> PerRow:
    """A checked number, or one a request [B]."""
    checked = per_row(rule, rule.off if value is None else value)
    if isinstance(checked, Tensor) and checked.shape[0] != requests:
        raise ValueError(
            f"{rule.name} must have one value a request, {requests}, got {checked.shape[0]}"
        )
    return checked


def _seed(
    given: Given, generator: torch.Generator | None, requests: int, *, greedy: bool
) -> tuple[int | None, Tensor]:
    """The seed of the run, if there is one, and the seed of each request [B]."""
    if generator is not None:
        check_generator(generator)
    if given.seed is None:
        needs_seed("stream", given.stream)
        base = 0 if greedy else seed_from(generator)
        return (None if greedy else base), seeds(base, range(requests))
    checked = checked_seed(given.seed, generator)
    if not isinstance(checked, Tensor):
        return int(checked), seeds(int(checked), range(requests))
    if checked.shape[0] != requests:
        raise ValueError(f"seed must have one value a request, {requests}, got {checked.shape[0]}")
    take_seeds(checked, given.seed, generator)
    return None, checked


def _records(rows: dict[str, Any], ties: Any, number: int) -> list[SamplingParams]:
    """What each of `number` rows draws with."""
    columns = {
        name: value.tolist() if isinstance(value, Tensor) else [value] * number
        for name, value in rows.items()
    }
    return [
        SamplingParams(
            ties=ties or "first",
            **{name: column[row] for name, column in columns.items()},
        )
        for row in range(number)
    ]
