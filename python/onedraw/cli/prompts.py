"""Where prompts come from: the argument, a file with one a line, JSON lines, or standard input."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from onedraw.cli.manners import CommandError

__all__ = ["Request", "checked", "from_file", "single"]

OVERRIDES = ("temperature", "top_k", "top_p", "min_p", "seed")


@dataclass(frozen=True)
class Request:
    """One prompt and where it stands; `name` and `overrides` come from a JSON record."""

    prompt: str
    where: str = "the prompt"
    name: str | int | None = None
    overrides: Mapping[str, Any] = field(default_factory=dict)


def single(argument: str | None) -> Request:
    """Take the one prompt from the command line, or the whole of standard input (``-`` or none)."""
    if argument is None and (sys.stdin is None or sys.stdin.isatty()):
        raise CommandError(
            'give a prompt, as in: onedraw generate "The man walked the cat"; or --file; '
            "or pipe text in",
            2,
        )
    if argument is None or argument == "-":
        text = _read("-", "the prompt").rstrip("\n")
    else:
        text = checked(argument, "the prompt")
    if not text:
        raise CommandError("the prompt is empty", 2)
    return Request(text)


def from_file(path: str) -> list[Request]:
    """Read one prompt a line, or one JSON object a line if the first line is one.

    A JSON object has the key ``prompt``, may have ``id`` (copied to the output), and may set
    `OVERRIDES` for its own row. Empty lines are skipped; ``-`` is standard input.
    """
    text = _read(path, "the prompts")
    # Not splitlines: a JSON string, or a prompt, may hold other separators of lines as they are.
    lines = [(i, line) for i, line in enumerate(text.split("\n"), start=1) if line.strip()]
    if not lines:
        raise CommandError(f"there is no prompt in {path}", 2)
    if not _is_object(lines[0][1]):
        return [Request(line, f"{path}, line {i}") for i, line in lines]
    return [_from_json(line, f"{path}, line {i}") for i, line in lines]


def _read(path: str, what: str) -> str:
    """All of a file, or of standard input (``-``)."""
    where = "standard input" if path == "-" else path
    try:
        if path != "-":
            return Path(path).read_text(encoding="utf-8")
        if sys.stdin is None:  # closed by whoever started this
            raise CommandError(f"cannot read {what} in {where}: it is closed", 2)
        text = sys.stdin.read()
    except OSError as error:
        raise CommandError(f"cannot read {what} in {where}: {error.strerror}", 2) from None
    except UnicodeDecodeError:
        raise CommandError(f"{where} is not UTF-8 text", 2) from None
    return checked(text, where)


def checked(text: str, where: str) -> str:
    """Refuse lone surrogates: what Python makes of bytes that are no text, and JSON can spell."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise CommandError(f"{where} is not UTF-8 text", 2) from None
    return text


def _is_object(line: str) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except ValueError:
        return False


def _from_json(line: str, where: str) -> Request:
    try:
        record = json.loads(line)
    except ValueError as error:
        raise CommandError(f"{where} is not JSON: {error}", 2) from None
    if not isinstance(record, dict) or not isinstance(record.get("prompt"), str):
        raise CommandError(f'{where} must be a JSON object with a string "prompt"', 2)
    checked(json.dumps(record, ensure_ascii=False), where)
    unknown = sorted(set(record) - {"prompt", "id", *OVERRIDES})
    if unknown:
        allowed = ", ".join(("prompt", "id", *OVERRIDES))
        raise CommandError(f"{where} has the key {unknown[0]!r}; allowed are {allowed}", 2)
    if not record["prompt"]:
        raise CommandError(f"{where}: the prompt is empty", 2)
    overrides = {key: record[key] for key in OVERRIDES if record.get(key) is not None}
    return Request(record["prompt"], where, record.get("id"), overrides)
