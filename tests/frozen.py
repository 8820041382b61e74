"""The form of the frozen vectors: float32 as hex bits, an answer as numbers and digests.

An entry is {"logits" or "weights": row, "options": {...}, "answer": {...}}. A row is the bits of
its float32, 8 hex digits each, or {"seed", "v", "coarse"}, the arguments of `logits.integer_row`.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np

import logits as rows
import oracle

FILE = Path(__file__).parent / "vectors" / "rows.json"
FLOATS = ("logprob", "raw_logprob", "kept_mass", "entropy")

Entry = dict[str, Any]


def to_hex(x: Any) -> str:
    """Give the bits of float32, most significant digit first; any NaN becomes the quiet one."""
    x = np.atleast_1d(np.asarray(x, np.float32))
    return np.where(np.isnan(x), np.float32(np.nan), x).astype(">f4").tobytes().hex()


def from_hex(digits: str) -> np.ndarray:
    """Give the float32 of `to_hex` [V]."""
    return np.frombuffer(bytes.fromhex(digits), ">f4").astype(np.float32)


def row_of(entry: Entry) -> np.ndarray:
    """Give the logits or weights [V] of an entry."""
    row = entry.get("logits", entry.get("weights"))
    return from_hex(row) if isinstance(row, str) else rows.integer_row(**row)


def options_of(entry: Entry) -> dict[str, Any]:
    """Give the parameters of an entry, masks and biases as `answers.py` takes them."""
    options = dict(entry["options"])
    if "allowed" in options:
        options["allowed"] = [c == "1" for c in options["allowed"]]
    match options.get("logit_bias"):
        case str(digits):
            options["logit_bias"] = from_hex(digits).tolist()
        case dict(some):
            options["logit_bias"] = {int(i): float(from_hex(x)[0]) for i, x in some.items()}
    return options


def digest(x: Any, dtype: str) -> str:
    """Give the first 16 digits of SHA-256 over little-endian numbers."""
    return hashlib.sha256(np.asarray(x, dtype).tobytes()).hexdigest()[:16]


def answer_of(answer: oracle.Answer) -> dict[str, Any]:
    """Write an answer down: of a bad row the status alone, of several samples the tokens."""
    if answer.status != oracle.OK or len(answer.tokens) > 1:
        return {"status": answer.status, "tokens": answer.tokens}
    return {
        "status": answer.status,
        "tokens": answer.tokens,
        "rank": answer.rank,
        "num_kept": answer.num_kept,
        "kept": digest(sorted(answer.kept), "<i8"),
        "probs": digest(answer.probs, "<f4"),
        **{name: to_hex(getattr(answer, name)) for name in FLOATS},
        "top_tokens": [i for i, _ in answer.top],
        "top_logprobs": to_hex([x for _, x in answer.top]),
    }


def load() -> dict[str, Any]:
    """Read the whole file."""
    return json.loads(FILE.read_text())
