"""vLLM's model runner V1: which request is in which row, and the draw in the place of `Sampler.sample`."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from vllm.v1.sample.logits_processor.interface import LogitsProcessor, MoveDirectionality

from ..devices import stage
from ..functional import kept_mask, sample
from ..randomness import seeds
from .v2 import PROCESSED

__all__ = ["Requests", "sample_with"]

_log = logging.getLogger("vllm.onedraw")

GREEDY_BELOW = 1e-5  # vLLM takes lower temperatures for 0
TEMPERATURES = (1e-6, 1e6)


@dataclass
class Request:
    """A request in the batch."""

    params: Any  # vLLM's SamplingParams
    prompt: int  # tokens
    output: list[int]  # vLLM's own list, which grows
    seed: int

    @property
    def temperature(self) -> float:
        return 0.0 if self.params.temperature < GREEDY_BELOW else float(self.params.temperature)

    @property
    def is_one_draw(self) -> bool:
        """Whether temperature, top-k, top-p and min-p are what one call of ours does, in vLLM's order.

        vLLM cuts by min-p first: where top-p follows, it shares out what min-p left.
        """
        least, most = TEMPERATURES
        in_order = not (self.params.min_p > 0 and self.params.top_p < 1)
        return in_order and (self.temperature == 0 or least <= self.temperature <= most)


class Settings:
    """What the rows of one batch are drawn with, on the device of the logits."""

    def __init__(self, requests: list[Request], device: torch.device) -> None:
        def column(values: list[Any], dtype: torch.dtype) -> Tensor:
            return stage(torch.tensor(values, dtype=dtype, device="cpu"), device)

        params = [request.params for request in requests]
        self.is_one_draw = all(request.is_one_draw for request in requests)
        self.seed = column([request.seed for request in requests], torch.int64)
        temperatures = [request.temperature for request in requests]
        self.temperature = column(temperatures, torch.float32)
        self.is_drawn = column([float(t > 0) for t in temperatures], torch.float32)
        self.divisor = column([t if t > 0 else 1.0 for t in temperatures], torch.float32)
        self.filters: dict[str, Any] = {}
        if any(p.top_k > 0 for p in params):
            self.filters["top_k"] = column([max(p.top_k, 0) for p in params], torch.int64)
        if any(p.top_p < 1 for p in params):
            self.filters["top_p"] = column([p.top_p for p in params], torch.float32)
        self.min_p: dict[str, Any] = {}
        if any(p.min_p > 0 for p in params):
            self.min_p["min_p"] = column([p.min_p for p in params], torch.float32)


class Requests(LogitsProcessor):  # type: ignore[misc]
    """Which request is in which row. vLLM tells its logits processors; this one processes nothing."""

    def __init__(self, vllm_config: Any, device: torch.device, is_pin_memory: bool) -> None:
        self.device = torch.device(device)
        self.rows: dict[int, Request] = {}
        self.failed = False
        self._settings: Settings | None = None
        # Requests without a seed get one here: in the order of their coming, so that all ranks of a
        # tensor-parallel group, which see the same requests, give the same.
        replica = vllm_config.parallel_config.data_parallel_rank
        self._seed = int(seeds(vllm_config.model_config.seed or 0, [replica])[0])
        self._unseeded = 0  # requests so far
        _log.info("onedraw draws the tokens")

    def is_argmax_invariant(self) -> bool:
        """Nothing changes, so the largest logit stays."""
        return True

    def apply(self, logits: Tensor) -> Tensor:
        """Nothing."""
        return logits

    def update_state(self, batch_update: Any) -> None:
        """Follow the batch: removed, added, moved, in this order."""
        if batch_update is None:
            return
        self._settings = None
        for row in batch_update.removed:
            self.rows.pop(row, None)
        for row, params, prompt, output in batch_update.added:
            self.rows[row] = Request(params, len(prompt or ()), output, self._seed_of(params))
        for here, there, direction in batch_update.moved:
            one, other = self.rows.pop(here, None), self.rows.pop(there, None)
            if one is not None:
                self.rows[there] = one
            if other is not None and direction is MoveDirectionality.SWAP:
                self.rows[here] = other

    def _seed_of(self, params: Any) -> int:
        if params.seed is not None:
            return int(params.seed)
        self._unseeded += 1
        return int(seeds(self._seed, [self._unseeded])[0])

    def has(self, rows: int) -> bool:
        """Whether these are the requests of a batch of so many rows."""
        return len(self.rows) == rows > 0 and max(self.rows) == rows - 1

    def settings(self) -> Settings:
        """Of the batch as it is."""
        if self._settings is None:
            self._settings = Settings([self.rows[i] for i in range(len(self.rows))], self.device)
        return self._settings

    def keys(self) -> dict[str, Any]:
        """Give the next token of each row its noise."""
        at = [self.rows[i].prompt + len(self.rows[i].output) for i in range(len(self.rows))]
        position = stage(torch.tensor(at, dtype=torch.int64, device="cpu"), self.device)
        return {"seed": self.settings().seed, "position": position}

    def draw(self, logits: Tensor, metadata: Any, mode: str) -> tuple[Tensor, Tensor | None]:
        """Draw int64 [B] from logits [B, V], and show what from where vLLM asks for it."""
        wanted = metadata.max_num_logprobs is not None or metadata.logprob_token_ids
        shows = mode in PROCESSED and wanted
        others = [p for p in metadata.logitsprocs.argmax_invariant if _works(p)]
        settings = self.settings()
        if settings.is_one_draw and not shows and not others:
            filters = settings.filters | settings.min_p
            return self._tokens(logits, settings.temperature, filters), None
        x = logits / settings.divisor[:, None]
        for processor in metadata.logitsprocs.argmax_invariant:
            x = processor.apply(x)
        tokens = self._tokens(x, settings.is_drawn, settings.filters)
        if not shows:
            return tokens, None
        if settings.filters:
            kept = kept_mask(x, **settings.filters, ties="keep", raise_on_bad=False)
            x = x.masked_fill(~kept, -torch.inf)
        return tokens, x if mode == "processed_logits" else x.log_softmax(-1)

    def _tokens(self, x: Tensor, temperature: Tensor, filters: dict[str, Any]) -> Tensor:
        status = torch.zeros(x.shape[0], dtype=torch.int32, device=x.device)
        tokens = sample(
            x,
            temperature=temperature,
            **filters,
            **self.keys(),
            ties="keep",
            raise_on_bad=False,  # one request's bad logits must not end the others
            status_out=status,
        )
        if x.is_cpu and bool(status.any()):
            rows = status.nonzero().flatten().tolist()
            _log.warning("logits of rows %s have a NaN or no token left: their token is 0", rows)
        return tokens

    def reseed(self, generators: dict[int, torch.Generator]) -> None:
        """Give vLLM's own sampler back the generators that it would have had."""
        for row, request in self.rows.items():
            if (
                request.params.seed is not None
                and row not in generators
                and request.temperature > 0
            ):
                generator = torch.Generator(device=self.device)
                generators[row] = generator.manual_seed(request.params.seed + len(request.output))


def _works(processor: Any) -> bool:
    """Whether a logits processor does something that is not in the settings."""
    return not isinstance(processor, Requests) and type(processor).__name__ != "MinPLogitsProcessor"


def _requests(metadata: Any, rows: int) -> Requests | None:
    """The requests of this batch, if vLLM told them."""
    for processor in metadata.logitsprocs.argmax_invariant:
        if isinstance(processor, Requests) and not processor.failed and processor.has(rows):
            return processor
    return None


def sample_with(own: Callable[..., Any]) -> Callable[..., Any]:
    """`Sampler.sample` by onedraw, and by vLLM's `own` where the requests are not known.

    So it is for the warm-up's random logits, for batches of greedy requests alone, and with
    speculative decoding.
    """

    @functools.wraps(own)
    def drawn(
        self: Any, logits: Tensor, sampling_metadata: Any, logprobs_mode_override: Any = None
    ) -> tuple[Tensor, Tensor | None]:
        requests = _requests(sampling_metadata, logits.shape[0])
        if requests is None or sampling_metadata.all_greedy:
            return own(self, logits, sampling_metadata, logprobs_mode_override)  # type: ignore[no-any-return]
        mode = logprobs_mode_override or self.logprobs_mode
        try:
            found = requests.draw(logits, sampling_metadata, mode)
        except Exception:
            _log.warning("onedraw failed; vLLM's own sampler draws from here on", exc_info=True)
            requests.failed = True
            requests.reseed(sampling_metadata.generators)
            return own(self, logits, sampling_metadata, logprobs_mode_override)  # type: ignore[no-any-return]
        # Nobody drew from them, and vLLM would set back those of requests whose prompt is not whole yet.
        sampling_metadata.generators.clear()
        return found

    return drawn
