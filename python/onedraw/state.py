"""What a Sampler remembers from one draw to the next, the position apart."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor

from . import _core, ops
from .arrays import own, plain
from .errors import shown
from .params import (
    BAD_TOKEN,
    MIN_P,
    POSITION,
    SEED,
    STREAM,
    TEMPERATURE,
    TOP_K,
    TOP_P,
    PerRow,
    Rule,
    number,
    per_row,
)
from .randomness import Noise, check_range, largest, shares

__all__ = [
    "State",
    "loaded",
    "made_state",
    "on_device",
    "own_bias",
    "own_filters",
    "own_mask",
    "requests_in",
    "row_numbers",
    "saved",
    "set_state",
]

VERSIONS = {"format": 1, "spec_version": _core.SPEC_VERSION}
FILTERS = (TEMPERATURE, TOP_K, TOP_P, MIN_P)
REQUESTS = Rule("requests", "None or an integer >= 0", False, off=0, low=0, high=2**63 - 1)
# The next position of a request whose last token was drawn is one past the last.
NEXT = replace(POSITION, allowed="an integer in [0, 2^32]", high=POSITION.high + 1)


def own_filters(*given: Any) -> dict[str, PerRow | None]:
    """Checked copies of the filters' parameters, in the order of FILTERS, by name."""
    return {
        rule.name: None if value is None else own(per_row(rule, value))
        for rule, value in zip(FILTERS, given, strict=True)
    }


def own_mask(allowed: Any) -> Tensor | None:
    """A copy of `allowed`."""
    mask: Tensor | None = None if allowed is None else own(plain(allowed, "allowed"))
    return mask


def own_bias(logit_bias: Any) -> Any:
    """A copy of `logit_bias`; of a number or None, itself."""
    if isinstance(logit_bias, (list, tuple)):
        return [own_bias(row) for row in logit_bias]
    if isinstance(logit_bias, Mapping):
        return dict(logit_bias)
    return own(plain(logit_bias, "logit_bias")) if hasattr(logit_bias, "__dlpack__") else logit_bias


@dataclass(frozen=True)
class State:
    """The settings of B requests; None is off or not known yet."""

    requests: int | None
    temperature: PerRow | None
    top_k: PerRow | None
    top_p: PerRow | None
    min_p: PerRow | None
    ties_keep: bool
    bad_token: int
    seed: PerRow | None  # None: taken at the first draw that is not refused
    stream: PerRow
    row_stream: bool  # row r draws from stream + r
    allowed: Tensor | None
    logit_bias: Any

    def greedy(self) -> bool:
        """Whether no row needs noise."""
        return not isinstance(self.temperature, Tensor) and self.temperature == 0

    def check_rows(self, x: Tensor) -> None:
        """Refuse logits `x` of another number of requests."""
        requests = ops.requests_of(x)
        if self.requests is not None and self.requests != requests:
            raise ValueError(
                f"logits must have as many rows as this Sampler, {self.requests}, got {requests}: "
                "select(rows) keeps some of its rows, reset() begins anew"
            )

    def select(self, rows: Tensor, there: Callable[[torch.device], Tensor]) -> State:
        """The settings of some `rows` [n], in that order; `there` gives these on a device."""
        chosen: dict[str, Any] = {"requests": rows.numel()}
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name in ("allowed", "logit_bias"):
                if isinstance(value, (list, tuple)):
                    chosen[field.name] = [value[row] for row in rows.tolist()]
                elif isinstance(value, Tensor) and value.dim() > 1:
                    chosen[field.name] = value[there(value.device)]
            elif isinstance(value, Tensor) and value.dim():
                chosen[field.name] = value[there(value.device)]
        if self.row_stream:  # a row keeps the stream that its number gave it
            check_range("stream", largest(self.stream), self.requests or 0, "row")
            first = self.stream
            chosen["stream"] = first + (there(first.device) if isinstance(first, Tensor) else rows)
            chosen["row_stream"] = False
        return replace(self, **chosen)


def made_state(
    filters: dict[str, Any],
    seed: PerRow | None,
    stream: PerRow,
    position: PerRow,
    rows: int | None,
    **rest: Any,
) -> State:
    """A State of checked values, of `rows` requests where that is known."""
    lengths = {**filters, "seed": seed, "stream": stream, "position": position}
    return State(
        requests=requests_in(rows, lengths),
        **filters,
        seed=seed,
        stream=stream,
        row_stream=shares(0 if seed is None else seed, stream),
        **rest,
    )


def set_state(job: _core.Job, x: Tensor, state: State, position: PerRow) -> list[Tensor]:
    """Give a new `job` everything of `state` but the edits, for the checked logits `x`.

    Returns the tensors that the job reads.
    """
    given = {rule.name: getattr(state, rule.name) for rule in FILTERS}
    given |= {"seed": 0 if state.seed is None else state.seed, "stream": state.stream}
    given["position"] = position
    placed = {
        name: ops.placed(name, value, x) for name, value in given.items() if value is not None
    }
    for rule in FILTERS:
        if rule.name in placed:
            job.set(rule.name, placed[rule.name])
    job.ties_keep = state.ties_keep
    job.bad_token = ops.check_bad_token(state.bad_token, x.shape[-1])
    key = Noise(placed["seed"], placed["stream"], placed["position"], state.row_stream)
    ops.set_noise(job, key, x)
    return [value for value in placed.values() if isinstance(value, Tensor)]


def on_device(position: PerRow, x: Tensor) -> Tensor:
    """`position` as int64 [B] on the device of the logits `x`, where the kernel may advance it."""
    requests = ops.requests_of(x)
    if not isinstance(position, Tensor):
        with torch.inference_mode(False):
            return torch.full((requests,), position, dtype=torch.int64, device=x.device)
    placed = ops.placed("position", position, x)
    assert isinstance(placed, Tensor)
    return placed


def saved(state: State, position: PerRow, bad: Tensor | None) -> dict[str, Any]:
    """Give the whole of a Sampler as plain values and copies of tensors, by name."""
    values = {field.name: own_bias(getattr(state, field.name)) for field in fields(state)}
    return {**VERSIONS, "position": own(position), "bad": own(bad), **values}


def loaded(record: dict[str, Any]) -> tuple[State, PerRow, Tensor | None]:
    """What `saved` was given, from what it gave."""
    expected = {*VERSIONS, "position", "bad", *(field.name for field in fields(State))}
    if not isinstance(record, dict) or set(record) != expected:
        given = sorted(map(str, record)) if isinstance(record, dict) else shown(record)
        raise ValueError(f"state must be a dict with the keys {sorted(expected)}, got {given}")
    for name, version in VERSIONS.items():
        if type(record[name]) is not int or record[name] != version:
            raise ValueError(
                f"state must have the {name} {version} (another one's tokens would differ), "
                f"got {shown(record[name])}"
            )
    filters = own_filters(*(record[rule.name] for rule in FILTERS))
    seed = None if record["seed"] is None else _loaded(SEED, record["seed"])
    stream, position = _loaded(STREAM, record["stream"]), _loaded(NEXT, record["position"])
    for name in ("ties_keep", "row_stream"):
        if not isinstance(record[name], bool):
            raise TypeError(f"{name} must be True or False, got {shown(record[name])}")
    if record["row_stream"] != shares(0 if seed is None else seed, stream):
        raise ValueError(
            "row_stream must be True where neither seed nor stream has one value a row, else "
            f"False, got {record['row_stream']}"
        )
    known = record["requests"]
    state = made_state(
        filters,
        seed,
        stream,
        position,
        None if known is None else int(number(REQUESTS, known)),
        ties_keep=record["ties_keep"],
        bad_token=int(number(BAD_TOKEN, record["bad_token"])),
        allowed=own_mask(record["allowed"]),
        logit_bias=own_bias(record["logit_bias"]),
    )
    return state, position, _statuses(record["bad"], state.requests)


def _loaded(rule: Rule, value: object) -> PerRow:
    """A checked copy of a number or of a tensor with one a row, as `saved` gives them."""
    if isinstance(value, (list, tuple)):  # whose None would be taken for a number
        raise TypeError(f"{rule.name} must be a number or a tensor, got {shown(value)}")
    checked: PerRow = own(per_row(rule, value))
    return checked


def _statuses(bad: object, requests: int | None) -> Tensor | None:
    """A checked copy of the worst status of each request so far."""
    if bad is None:
        return None
    fine = isinstance(bad, Tensor) and bad.dtype is torch.int32
    if not fine or bad.shape != (requests,):  # type: ignore[attr-defined]
        raise ValueError(f"bad must be None or an int32 tensor [{requests}], got {shown(bad)}")
    statuses: Tensor = own(bad)
    return statuses


def requests_in(known: int | None, values: dict[str, PerRow | None]) -> int | None:
    """B, as the one length of everything that has one value a row; None where nothing has."""
    source = "this Sampler"
    for name, value in values.items():
        if isinstance(value, Tensor) and value.dim():
            if known is not None and known != value.shape[0]:
                raise ValueError(
                    f"{name} must have one value a row, {known} as {source}, got {value.shape[0]}"
                )
            known, source = value.shape[0], name
    return known


def row_numbers(rows: object, requests: int) -> Tensor:
    """What `select` is given, row numbers or a bool tensor [requests], as int64 [n]."""
    if isinstance(rows, Tensor) and rows.dtype is torch.bool:
        if rows.shape != (requests,):
            raise ValueError(
                f"rows must be a bool tensor [{requests}] or row numbers, got {shown(rows)}"
            )
        return rows.cpu().nonzero().flatten()
    rule = Rule(
        "rows", f"row numbers in [0, {requests - 1}]", False, off=0, low=0, high=requests - 1
    )
    chosen = per_row(rule, rows.cpu() if isinstance(rows, Tensor) else rows)
    if not isinstance(chosen, Tensor):
        raise TypeError(f"rows must be a list or tensor of {rule.allowed}, got {shown(rows)}")
    return chosen
