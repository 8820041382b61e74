"""What `return_details=True` gives: the tokens with their record, and what they were drawn with."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..params import SamplingParams
from ..results import Draw, report_names
from .settings import count

__all__ = ["Generation", "GenerationInterrupted", "Recorder"]

ALTERNATIVES = 5  # `top_logprobs` where nothing is said
NAN = float("nan")
# What a field holds where a row had no token any more; `token` and `top_tokens` hold pad.
NOTHING = {
    "logprob": NAN,
    "raw_logprob": NAN,
    "rank": 0,
    "num_kept": 0,
    "kept_mass": NAN,
    "entropy": NAN,
    "status": 0,
    "top_logprobs": NAN,
}


@dataclass(frozen=True)
class Generation:
    """The outcome of a run of R = B * num_return_sequences rows.

    Attributes
    ----------
    sequences : Tensor
        int64 [R, T + new]: what `generate` returns without details.
    draws : Draw or None
        The record of the new tokens, each field [R, new] (`top_tokens`, `top_logprobs`: [R, new, n]). After
        a row has finished: pad, NaN, or 0. None where it was not asked for.
    prompt_lengths, new_lengths : Tensor
        int64 [R]: tokens of the prompt without padding, and new ones (an end token counts).
    finish_reasons : list of str
        "eos", "stop_string", "stopping_criteria", "length" or "interrupted", one a row.
    params : list of SamplingParams
        What each row was drawn with, checkpoint's settings, seed and stream included.
        ``generate(model, its_prompt, params=[that])`` gives the row again.
    seed : int or None
        The seed of the run, given or taken; None where each request had its own, or all was greedy.
    spec_version : int
        The version of the specification of the draw (`onedraw.SPEC_VERSION`).
    seconds, sampling_seconds : float
        Wall-clock time from the first forward pass on, and the part of it spent drawing (on a device:
        spent launching draws).
    """

    sequences: Tensor
    draws: Draw | None
    prompt_lengths: Tensor
    new_lengths: Tensor
    finish_reasons: list[str]
    params: list[SamplingParams]
    seed: int | None
    spec_version: int
    seconds: float
    sampling_seconds: float

    def tokens(self, row: int) -> list[int]:
        """Give the new tokens of one row, without padding."""
        start = self.sequences.shape[1] - self.width
        return self.sequences[row, start : start + int(self.new_lengths[row])].tolist()

    @property
    def width(self) -> int:
        """How many columns of `sequences` are new."""
        return int(self.new_lengths.max()) if self.new_lengths.numel() else 0

    def records(self, row: int) -> list[dict[str, Any]]:
        """Give the record of each new token of one row as plain numbers for JSON, -inf and NaN as None."""
        if self.draws is None:
            return [{"token": token} for token in self.tokens(row)]
        columns = {
            name: _plain(field[row].tolist())
            for name, field in zip(Draw._fields, self.draws, strict=True)
            if field is not None and name != "status"
        }
        return [
            {name: column[at] for name, column in columns.items()}
            for at in range(int(self.new_lengths[row]))
        ]


def _plain(value: Any) -> Any:
    """Numbers in lists, None in the place of those that JSON cannot hold."""
    if isinstance(value, list):
        return [_plain(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


class GenerationInterrupted(KeyboardInterrupt):
    """Ctrl-C during `generate`.

    Attributes
    ----------
    result : Tensor or Generation
        What `generate` would have returned, up to the last finished step; the streamer has it all, too.
    """

    def __init__(self, result: Tensor | Generation) -> None:
        super().__init__("generation interrupted")
        self.result = result


class Recorder:
    """Gathers the Draws of a run in buffers [R, N, ...], allocated at the first."""

    def __init__(self, rows: int, steps: int, report: Any, top_logprobs: int | None) -> None:
        self.rows, self.steps = rows, steps
        self.report = report_names(report)
        self.top_logprobs = None if top_logprobs is None else count("top_logprobs", top_logprobs)
        self.fields: dict[str, Tensor] = {}

    def options(self, vocab: int) -> dict[str, Any]:
        """What to ask of a draw over `vocab` tokens."""
        top = min(ALTERNATIVES, vocab) if self.top_logprobs is None else self.top_logprobs
        return {"report": self.report, "top_logprobs": top}

    def keep(self, draw: Draw, step: int, rows: Tensor | None) -> None:
        """Store the Draw of one step, of the rows numbered `rows` (None: all)."""
        for name, value in zip(Draw._fields, draw, strict=True):
            if value is None:
                continue
            buffer = self.fields.get(name)
            if buffer is None:
                shape = (self.rows, self.steps, *value.shape[1:])
                buffer = self.fields[name] = value.new_zeros(shape)
            if rows is None:
                buffer[:, step] = value
            else:
                buffer[rows, step] = value

    def keep_at(self, draw: Draw, step: Tensor) -> None:
        """Store the Draw of all rows of one `step`, int64 [1] on the device; the buffers are there already."""
        for name, value in zip(Draw._fields, draw, strict=True):
            if value is not None:
                self.fields[name].index_copy_(1, step, value.unsqueeze(1))

    def finish(self, lengths: Tensor, pad: int) -> Draw:
        """The records of rows with `lengths` [R] tokens, blank behind them."""
        width = int(lengths.max()) if lengths.numel() else 0
        behind = torch.arange(width, device="cpu") >= lengths.cpu().unsqueeze(1)
        result: dict[str, Tensor | None] = dict.fromkeys(Draw._fields)
        for name, buffer in self.fields.items():
            field = buffer[:, :width].clone()
            field[behind.to(field.device)] = NOTHING.get(name, pad)
            result[name] = field
        return Draw(**result)  # type: ignore[arg-type]
