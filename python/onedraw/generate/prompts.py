"""The prompts: token ids [B, T] with the padding on the left, whatever form they came in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..arrays import plain
from ..errors import shown
from ..params import Rule, number

__all__ = ["Prompts", "read_prompts"]

TOKEN = Rule("input_ids", "token ids >= 0", False, off=0, low=0, high=2**63 - 1)
IDS = frozenset({torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64})
MASKS = IDS | {torch.bool, torch.float16, torch.bfloat16, torch.float32}


class Prompts(NamedTuple):
    """B requests, the padding (if any) on the left."""

    tokens: Tensor  # int64 [B, T]
    mask: Tensor | None  # int64 [B, T], 0 on the padding; None where there is none
    lengths: Tensor  # int64 [B]: how many tokens are no padding

    def to(self, device: torch.device) -> Prompts:
        """The same on another device."""
        return Prompts(*(None if field is None else field.to(device) for field in self))  # type: ignore[arg-type]


def read_prompts(input_ids: Any, attention_mask: Any, pad: int) -> Prompts:
    """Check `input_ids` [B, T] or [T], or lists of token ids of any lengths, and the mask that goes with it.

    Lists of different lengths are padded on the left with `pad`, and get a mask.
    """
    if isinstance(input_ids, (list, tuple)):
        tokens, mask = _from_lists(input_ids, pad)
        if mask is not None and attention_mask is not None:
            raise ValueError(
                "attention_mask must be left out where input_ids are lists of different lengths: it follows"
            )
        attention_mask = mask if attention_mask is None else attention_mask
    else:
        if isinstance(input_ids, str):
            raise TypeError(f"input_ids must be token ids [B, T], got the text {shown(input_ids)}")
        tokens = plain(input_ids, "input_ids")
        if tokens.dtype not in IDS:
            raise TypeError(f"input_ids must be integers [B, T], got {shown(tokens)}")
        if tokens.dim() not in (1, 2):
            raise ValueError(f"input_ids must be [B, T] or [T], got {shown(tokens)}")
        tokens = tokens.detach().to(torch.int64)
        tokens = tokens.unsqueeze(0) if tokens.dim() == 1 else tokens
    if tokens.shape[1] == 0 and tokens.shape[0] > 0:
        raise ValueError(
            "input_ids must have at least one token a row (a start token, say), got an empty prompt"
        )
    if tokens.numel() and int(tokens.min()) < 0:
        raise ValueError(f"input_ids must be token ids >= 0, got {int(tokens.min())}")
    mask = None if attention_mask is None else _read_mask(attention_mask, tokens)
    whole = torch.full(tokens.shape[:1], tokens.shape[1], dtype=torch.int64, device=tokens.device)
    lengths = whole if mask is None else mask.sum(dim=1)
    return Prompts(tokens, mask, lengths)


def _from_lists(rows: Sequence[Any], pad: int) -> tuple[Tensor, Tensor | None]:
    """[T] or [B, T] from lists; and the mask [B, T] where the lengths differ."""
    if rows and not isinstance(rows[0], (list, tuple, Tensor)):
        rows = [rows]
    lists: list[list[int]] = []
    for index, row in enumerate(rows):
        values = row.tolist() if isinstance(row, Tensor) else row
        if not isinstance(values, (list, tuple)):
            raise TypeError(f"input_ids[{index}] must be a list of token ids, got {shown(row)}")
        if not values:
            raise ValueError(
                f"input_ids[{index}] must have at least one token, got an empty prompt"
            )
        lists.append([int(number(TOKEN, v, f"[{index}][{at}]")) for at, v in enumerate(values)])
    width = max(map(len, lists), default=0)
    padded = [[pad] * (width - len(ids)) + ids for ids in lists]
    tokens = torch.tensor(padded, dtype=torch.int64, device="cpu")
    tokens = tokens.view(len(lists), width)
    if all(len(ids) == width for ids in lists):
        return tokens, None
    ones = [[0] * (width - len(ids)) + [1] * len(ids) for ids in lists]
    mask = torch.tensor(ones, device="cpu")
    return tokens, mask


def _read_mask(attention_mask: Any, tokens: Tensor) -> Tensor | None:
    """The mask as int64 [B, T], or None where it masks nothing."""
    given = attention_mask
    if isinstance(given, list):
        given = torch.tensor(given, device="cpu")
    mask = plain(given, "attention_mask").detach()
    if mask.dtype not in MASKS:
        raise TypeError(f"attention_mask must be of 0 and 1, got {shown(mask)}")
    mask = mask.unsqueeze(0) if mask.dim() == 1 else mask
    if mask.shape != tokens.shape:
        raise ValueError(
            f"attention_mask must have the shape of input_ids, {list(tokens.shape)}, got {shown(mask)}"
        )
    ones = mask.to(tokens.device) == 1
    if not bool((ones | (mask.to(tokens.device) == 0)).all()):
        raise ValueError(
            f"attention_mask must be of 0 and 1, got values of {shown(mask)} that are not"
        )
    if bool(ones.all()):
        return None
    empty = (~ones.any(dim=1)).nonzero().flatten().tolist()
    if empty:
        raise ValueError(
            f"attention_mask must leave a token in each row, got an empty prompt in row {empty[0]}"
        )
    late = (ones[:, :-1] & ~ones[:, 1:]).any(dim=1).nonzero().flatten().tolist()
    if late:
        raise ValueError(
            f"attention_mask must be 0 on the left only (tokenizer.padding_side = 'left'), got a 0 after a "
            f"1 in row {late[0]}"
        )
    return ones.to(torch.int64)
