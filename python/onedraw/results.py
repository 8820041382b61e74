"""What a draw reports."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from . import ops
from .errors import raise_bad_rows, shown
from .params import Rule, number

__all__ = ["Draw", "by_request", "draw_of", "draw_outputs", "report_names"]

OPTIONAL = ("raw_logprob", "rank", "entropy", "kept_mass")
ALWAYS = ("token", "logprob", "num_kept", "status")
DTYPES = {
    "token": torch.int64,
    "rank": torch.int64,
    "num_kept": torch.int64,
    "status": torch.int32,
    "kept": torch.bool,
    "top_token": torch.int64,
}  # the rest is float32
TOP = Rule("top_logprobs", "an integer in [0, V]", False, off=0, low=0, high=2**22)


class Draw(NamedTuple):
    """A draw and its record: every field has the shape of the rows, or is None if not asked for.

    The errors of logprobs, kept_mass and entropy are stated in ``docs/determinism.md``.

    Attributes
    ----------
    token : Tensor
        int64: the token drawn; of a bad row `bad_token`.
    logprob : Tensor
        float32: its log-probability (natural) in the distribution drawn from. 0 for a greedy row.
    raw_logprob : Tensor or None
        float32: its log-softmax at temperature 1 over the logits as given: no mask, bias or filter.
    rank : Tensor or None
        int64: 1 for the likeliest, counted in the order "likelier first, then lower id" after mask
        and bias.
    num_kept : Tensor
        int64: how many tokens the filters left. 1 for a greedy row.
    kept_mass : Tensor or None
        float32: the share in (0, 1] of the tempered probability that the filters left.
    entropy : Tensor or None
        float32: of the distribution drawn from, in nats.
    status : Tensor
        int32 [...], with `keepdim` too: 0, or why the row is bad (see `BadRowError`); then the numbers
        are NaN or 0.
    top_tokens : Tensor or None
        int64 [..., n]: the n likeliest tokens. Where a row has fewer, the rest is `bad_token`.
    top_logprobs : Tensor or None
        float32 [..., n]: their log-probabilities in the distribution drawn from, -inf where cut.
    """

    token: Tensor
    logprob: Tensor
    raw_logprob: Tensor | None
    rank: Tensor | None
    num_kept: Tensor
    kept_mass: Tensor | None
    entropy: Tensor | None
    status: Tensor
    top_tokens: Tensor | None
    top_logprobs: Tensor | None

    def check(self) -> None:
        """Raise BadRowError if a row is bad. On a device this is a synchronisation."""
        raise_bad_rows(self.status)

    def to(self, device: torch.device | str) -> Draw:
        """Give the same record on another device."""
        moved = {
            name: value.to(device) for name, value in self._asdict().items() if value is not None
        }
        return self._replace(**moved)


def report_names(report: object) -> tuple[str, ...]:
    """Checked names of optional fields: a name, several, or "all"."""
    if report == ():
        return ()
    if report == "all":
        return OPTIONAL
    names = (report,) if isinstance(report, str) else report
    if not isinstance(names, (tuple, list, set, frozenset)) or not all(
        isinstance(name, str) and name in OPTIONAL for name in names
    ):
        raise ValueError(
            f"report must be 'all' or any of {', '.join(map(repr, OPTIONAL))}, got {shown(report)}"
        )
    return tuple(name for name in OPTIONAL if name in names)


def draw_outputs(
    x: Tensor, report: object, top_logprobs: object, keepdim: bool = False
) -> dict[str, Tensor]:
    """New outputs for a record of logits `x`, by the names that the binding has for them."""
    rows = x.shape[:-1]
    shape = (*rows, 1) if keepdim else rows
    top = int(number(TOP, top_logprobs))
    if top > x.shape[-1]:
        raise ValueError(f"top_logprobs must be in [0, {x.shape[-1]}] (V), got {top}")
    outputs = {
        name: ops.empty(shape, DTYPES.get(name, torch.float32), x)
        for name in (*ALWAYS, *report_names(report))
    }
    if top:
        outputs["top_token"] = ops.empty((*rows, top), torch.int64, x)
        outputs["top_logprob"] = ops.empty((*rows, top), torch.float32, x)
    return outputs


def draw_of(outputs: dict[str, Tensor]) -> Draw:
    """Give the record that a run wrote."""
    return Draw(
        token=outputs["token"],
        logprob=outputs["logprob"],
        raw_logprob=outputs.get("raw_logprob"),
        rank=outputs.get("rank"),
        num_kept=outputs["num_kept"],
        kept_mass=outputs.get("kept_mass"),
        entropy=outputs.get("entropy"),
        status=outputs["status"],
        top_tokens=outputs.get("top_token"),
        top_logprobs=outputs.get("top_logprob"),
    )


def by_request(status: Tensor) -> Tensor:
    """The worst statuses [B] of rows [], [B] or [B, T]."""
    return status.amax(dim=1) if status.dim() > 1 else status.reshape(-1)
