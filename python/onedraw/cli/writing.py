"""From requests to text: batches of prompts through `onedraw.generate`, and a record of each row."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import onedraw
from onedraw.cli.language import Language
from onedraw.cli.manners import CommandError
from onedraw.cli.prompts import Request
from onedraw.generate import Generation, GenerationInterrupted, generate

__all__ = ["Totals", "Written", "write"]


@dataclass(frozen=True)
class Written:
    """One row's text; `tokens` has the record of each token where that was asked for."""

    request: int
    sample: int
    prompt: str
    text: str
    finish_reason: str
    num_tokens: int
    tokens: list[dict[str, Any]] = field(repr=False)


@dataclass
class Totals:
    """What a run has cost so far."""

    tokens: int = 0
    seconds: float = 0.0
    sampling_seconds: float = 0.0
    interrupted: bool = False

    def line(self, seed: int | None) -> str:
        """One line for a person.

        >>> Totals(60, 1.5, 0.0009).line(7)
        '60 tokens, 40.0 tokens/s, 15.0 us a token spent sampling, seed 7'
        """
        rate = self.tokens / self.seconds if self.seconds > 0 else 0.0
        each = 1e6 * self.sampling_seconds / self.tokens if self.tokens else 0.0
        noun = "token" if self.tokens == 1 else "tokens"
        drawn = "greedy" if seed is None else f"seed {seed}"
        return (
            f"{self.tokens:,} {noun}, {rate:,.1f} tokens/s, "
            f"{each:,.1f} us a token spent sampling, {drawn}"
        )


def write(
    language: Language,
    requests: Sequence[Request],
    settings: Mapping[str, Any],
    *,
    seed: int,
    batch_size: int,
    num: int,
    options: Mapping[str, Any],
    details: bool,
    totals: Totals,
    streamer: Any = None,
) -> Iterator[Written]:
    """Generate in batches, and give each row as its batch is done.

    A request draws with a seed of its own, by its place among all requests, so that the size of the
    batches changes no text (as long as it does not change the logits). After Ctrl-C the rows come with
    what they have, and `totals.interrupted` is set.
    """
    encoded = [language.encode(request.prompt) for request in requests]
    params = _params(requests, settings, seed)
    record: dict[str, Any] = {} if details else {"report": (), "top_logprobs": 0}
    for first in range(0, len(requests), batch_size):
        last = min(first + batch_size, len(requests))
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                run = generate(
                    language.model,
                    encoded[first:last],
                    params[first:last],
                    tokenizer=language.tokenizer,
                    num_return_sequences=num,
                    streamer=streamer,
                    progress=False,
                    return_details=True,
                    **options,
                    **record,
                )
        except GenerationInterrupted as interrupt:
            totals.interrupted = True
            run = cast(Generation, interrupt.result)  # as return_details asks
        except onedraw.BadRowError as error:
            raise CommandError(f"the model's logits cannot be drawn from: {error}") from None
        except (TypeError, ValueError) as error:
            raise CommandError(str(error), 2) from None
        totals.tokens += int(run.new_lengths.sum())
        totals.seconds += run.seconds
        totals.sampling_seconds += run.sampling_seconds
        yield from _rows(language, requests, run, first, num, details)
        if totals.interrupted:
            return


def _rows(
    language: Language,
    requests: Sequence[Request],
    run: Generation,
    first: int,
    num: int,
    details: bool,
) -> Iterator[Written]:
    for row, reason in enumerate(run.finish_reasons):
        tokens = run.tokens(row)
        request = first + row // num
        yield Written(
            request=request,
            sample=row % num,
            prompt=requests[request].prompt,
            text=language.text(tokens),
            finish_reason=reason,
            num_tokens=len(tokens),
            tokens=_records(language, run, row) if details else [],
        )


def _records(language: Language, run: Generation, row: int) -> list[dict[str, Any]]:
    return [{"text": language.word(record["token"]), **record} for record in run.records(row)]


def _params(
    requests: Sequence[Request], settings: Mapping[str, Any], seed: int
) -> list[onedraw.SamplingParams]:
    """One a request. A seed of a request's own counts as if the request were the only one."""
    common = onedraw.seeds(seed, range(len(requests))).tolist()
    params = []
    for request, shared in zip(requests, common, strict=True):
        own = dict(request.overrides)
        try:
            drawn = own.pop("seed", None)
            key = shared if drawn is None else int(onedraw.seeds(drawn, range(1)))
            params.append(onedraw.SamplingParams(**{**settings, **own, "seed": key}))
        except (TypeError, ValueError) as error:
            raise CommandError(f"{request.where}: {error}", 2) from None
    return params
