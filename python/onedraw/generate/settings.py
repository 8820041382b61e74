"""What a run is asked for: an explicit argument, else what the checkpoint sets, else off."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..errors import shown
from ..params import Rule, number, per_row

__all__ = [
    "NEW_TOKENS",
    "Lengths",
    "bound",
    "check_cuda_graph",
    "count",
    "end_tokens",
    "least_tokens",
    "new_tokens",
    "pad_token",
    "strings",
]

NEW_TOKENS = 128  # where nobody says how many
ANY = 2**31 - 1

TOKEN_ID = "a token id >= 0"


class Lengths(NamedTuple):
    """How many new tokens the B requests may have, and who said so."""

    most: Tensor  # int64 [B]
    given: bool  # by the caller or the checkpoint


def count(name: str, value: Any, low: int = 0) -> int:
    """A number of something: an integer >= `low`."""
    rule = Rule(name, f"an integer >= {low}", False, off=0, low=low, high=ANY)
    return int(number(rule, value))


def new_tokens(value: Any, checkpoint: dict[str, Any], prompts: Tensor) -> Lengths:
    """`max_new_tokens`, a number or one a request, for prompts of `prompts` [B] tokens.

    Of a checkpoint's `max_length` a request has what its own prompt leaves, whatever its batch mates are.
    Transformers counts the padding as a part of the prompt.
    """
    requests = prompts.shape[0]
    if value is None:
        value = checkpoint.get("max_new_tokens")
        if value is None and "max_length" in checkpoint:
            value = (checkpoint["max_length"] - prompts.cpu()).clamp(min=0)
    given = value is not None
    rule = Rule("max_new_tokens", "an integer >= 0", False, off=NEW_TOKENS, low=0, high=ANY)
    checked = per_row(rule, NEW_TOKENS if value is None else value)
    if isinstance(checked, Tensor):
        if checked.shape[0] != requests:
            raise ValueError(
                f"max_new_tokens must have one value a request, {requests}, got {checked.shape[0]}"
            )
        return Lengths(checked, given)
    most = torch.full((requests,), int(checked), dtype=torch.int64, device="cpu")
    return Lengths(most, given)


def bound(lengths: Lengths, prompts: Tensor, context: int) -> Tensor:
    """Check that prompts of `prompts` [B] tokens and what is to come fit into `context`; returns int64 [B].

    Where nobody said how many tokens, it is as many as fit.
    """
    for row, length in enumerate(prompts.tolist()):
        if length > context:
            raise ValueError(
                f"input_ids must be at most as long as the model's context, {context} tokens, got {length} "
                f"in row {row} (context_length={context} would read the last {context} of them)"
            )
    room = context - prompts.cpu()
    if not lengths.given:
        return torch.minimum(lengths.most, room)
    over = (lengths.most > room).nonzero().flatten().tolist()
    if over:
        row = over[0]
        raise ValueError(
            f"max_new_tokens must fit into the model's context of {context} tokens, at most {int(room[row])} "
            f"after the {int(prompts[row])} of row {row}, got {int(lengths.most[row])} (context_length="
            f"{context} would drop the oldest tokens instead)"
        )
    return lengths.most


def least_tokens(value: Any, checkpoint: dict[str, Any], limits: Tensor) -> int:
    """`min_new_tokens`, which the caller may not set beyond the most of a request, `limits` [B]."""
    if value is None:
        return count("min_new_tokens", checkpoint.get("min_new_tokens", 0))
    least = count("min_new_tokens", value)
    if limits.numel() and least > int(limits.min()):
        raise ValueError(
            f"min_new_tokens must be at most max_new_tokens, {int(limits.min())}, got {least}"
        )
    return least


def end_tokens(value: Any, checkpoint: dict[str, Any]) -> tuple[int, ...]:
    """`eos_token_id`, one or several; [] is none even where the checkpoint has one."""
    if value is None:
        value = checkpoint.get("eos_token_id")
    if value is None:
        return ()
    rule = Rule("eos_token_id", TOKEN_ID, False, off=0, low=0, high=ANY)
    values = per_row(rule, value)
    return tuple(values.tolist()) if isinstance(values, Tensor) else (int(values),)


def pad_token(value: Any, checkpoint: dict[str, Any], eos: tuple[int, ...]) -> int:
    """`pad_token_id`: what stands after a row has finished. By default the first end token, or 0."""
    if value is not None:
        return int(number(Rule("pad_token_id", TOKEN_ID, False, off=0, low=0, high=ANY), value))
    value = checkpoint.get("pad_token_id")
    if isinstance(value, int) and value >= 0:
        return value
    return eos[0] if eos else 0


def strings(value: Any, checkpoint: dict[str, Any], tokenizer: Any) -> list[str]:
    """`stop_strings`, one or several; [] is none even where the checkpoint has some."""
    if value is None:
        value = checkpoint.get("stop_strings")
    if value is None:
        return []
    values = [value] if isinstance(value, str) else value
    if not isinstance(values, Sequence) or not all(isinstance(s, str) and s for s in values):
        raise TypeError(
            f"stop_strings must be a text or a list of texts, none empty, got {shown(value)}"
        )
    if values and tokenizer is None:
        raise ValueError(
            f"tokenizer must be given with stop_strings, got None and the strings {shown(list(values))}"
        )
    return list(values)


def check_cuda_graph(
    cuda_graph: object,
    pretrained: bool,
    device: torch.device,
    context_length: int | None,
    processors: Sequence[object],
) -> None:
    """Refuse what no graph can be captured of."""
    if not isinstance(cuda_graph, bool):
        raise TypeError(f"cuda_graph must be True or False, got {shown(cuda_graph)}")
    if not cuda_graph:
        return
    if not pretrained:
        raise ValueError(
            "cuda_graph must be left out for a plain callable, whose context grows with each token"
        )
    if device.type != "cuda":
        raise ValueError(f"cuda_graph must be left out for a model on {device}: it needs CUDA")
    if context_length is not None:
        raise ValueError(
            f"cuda_graph must be left out where context_length is given, got {context_length}"
        )
    if processors:
        raise ValueError(
            f"cuda_graph must be left out where logits_processor is given, got {len(processors)} of them: a "
            "graph would repeat what they did at its capture"
        )
