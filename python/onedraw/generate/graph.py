"""A whole step, from the model to the stop, as one CUDA graph: captured once, then launched by one call a token.

What changes from step to step is in tensors on the device: the newest tokens, the column of the tape,
the positions of the draws and of the model, the clock of the stop.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ..sampler import Sampler
from .details import Recorder
from .huggingface import HuggingFaceDecoder, check_static
from .prompts import Prompts
from .stopping import Stopping
from .tape import Tape

__all__ = ["GraphedSteps", "StaticDecoder", "capture"]

WARM = 3  # steps before the capture, in which libraries allocate what they keep


def capture(step: Callable[[], None], device: torch.device) -> Callable[[], None]:
    """What `step` gives `device` to do, as a graph, and how to launch that on the current stream there.

    `step` is recorded on a stream of its own, and not run. Before it torch waits for the device, and gives
    back the memory that its allocators keep for later.
    """
    graph = torch.cuda.CUDAGraph()
    stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
    # torch's own capture stream is on the device that was current at the first capture of all; and it
    # stays the current stream after a capture that has failed.
    with (
        torch.cuda.device(device),
        torch.cuda.stream(stream),
        torch.cuda.graph(graph, stream=stream),
    ):
        step()
    return graph.replay


class StaticDecoder(HuggingFaceDecoder):
    """Logits of a model of transformers with a static cache: every step is the same launches.

    The samples of a request go through the prompt on their own: the rows of a static cache are fixed.
    """

    def __init__(
        self, model: Any, tape: Tape, prompts: Prompts, limits: Tensor, samples: int
    ) -> None:
        super().__init__(model, tape, prompts, limits, samples, None)
        check_static(model)
        from .cache import static_cache

        self.cache = static_cache(model.config, tape.tokens.shape[1])
        device = tape.tokens.device
        lengths = prompts.lengths.to(device).repeat_interleave(samples).unsqueeze(1)
        ends = lengths + limits.to(device).repeat_interleave(samples).unsqueeze(1)
        self.positions, self.last = lengths - 1, ends - 1  # [R, 1], of the newest token
        self.seen = torch.zeros_like(tape.tokens)  # [R, T + N]: 1 on what may be attended to
        self.seen[:, : tape.start] = 1
        if prompts.mask is not None:
            self.seen[:, : tape.start] = prompts.mask.repeat_interleave(samples, 0)

    def prefill(self) -> Tensor:
        """[R, V]: the logits after the prompts."""
        tape = self.tape
        positions = (self.seen[:, : tape.start].cumsum(1) - 1).clamp_(min=0)
        columns = torch.arange(tape.start, device=tape.tokens.device)
        return self._run(tape.tokens[:, : tape.start], positions, columns)

    def step(self, token: Tensor) -> Tensor:
        """[R, V]: the logits after the newest tokens, of a step that is no graph's."""
        column = torch.full((1,), self.tape.end - 1, device=token.device)
        return self.next(token.unsqueeze(1), column)

    def next(self, newest: Tensor, column: Tensor) -> Tensor:
        """[R, V]: the logits after `newest` [R, 1], which is in the `column` [1] of the tape."""
        self.seen.index_fill_(1, column, 1)
        self.positions.add_(self.positions < self.last)
        return self._run(newest, self.positions, column)

    def _run(self, tokens: Tensor, positions: Tensor, columns: Tensor) -> Tensor:
        inputs: dict[str, Any] = {"attention_mask": self.seen, self.cache_name: self.cache}
        if self.takes_positions:
            inputs["position_ids"] = positions
        if self.takes_columns:
            inputs["cache_position"] = columns
        return self._logits(tokens, inputs, use_cache=True)


class GraphedSteps:
    """The steps of a run, as calls that are all alike; after a few of them, a graph."""

    def __init__(
        self,
        decoder: StaticDecoder,
        sampler: Sampler,
        tape: Tape,
        stopping: Stopping,
        recorder: Recorder | None,
    ) -> None:
        self.decoder, self.sampler = decoder, sampler
        self.tape, self.stopping, self.recorder = tape, stopping, recorder
        self.column = torch.full((1,), tape.end, device=tape.tokens.device)  # of the newest token
        self.newest = torch.zeros_like(tape.tokens[:, :1])
        self.warm = WARM
        self.replay: Callable[[], None] | None = None

    def begin(self, column: Tensor) -> None:
        """Go on behind the tokens [R] that stand in the last column of the tape."""
        self.newest.copy_(column.unsqueeze(1))
        self.column.fill_(self.tape.end - 1)

    def run(self) -> None:
        """Draw one more token a row."""
        if self.replay is None and self.warm == 0:
            self.replay = capture(self._step, self.tape.tokens.device)
        if self.replay is None:
            self.warm -= 1
            self._step()
        else:
            self.replay()
        self.tape.end += 1
        self.stopping.steps += 1
        self.stopping.after_checks(self.tape)

    def _step(self) -> None:
        """Everything of a step that is on the device, and nothing that is not."""
        logits = self.decoder.next(self.newest, self.column)
        if self.recorder is None:
            token = self.sampler(logits)
            status = self.sampler.status
        else:
            draw = self.sampler.draw(logits, **self.recorder.options(logits.shape[-1]))
            token, status = draw.token, draw.status
            self.recorder.keep_at(draw, self.column + (1 - self.tape.start))
        self.stopping.note(status, None)
        self.column.add_(1)
        column = self.stopping.take(token, self.tape.pad)
        self.tape.tokens.index_copy_(1, self.column, column.unsqueeze(1))
        self.newest.copy_(column.unsqueeze(1))
