"""Write the frozen vectors, `rows.json`, from what the oracle answers: python make_vectors.py.

The rows and parameters are chosen by fixed seeds; an answer in the file that changes is a breaking
change.
"""

import json
import random
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np

import frozen
import logits as rows
import onedraw
import oracle
from oracle.exact import f32

TOP = 3
LENGTHS = [1, 2, 3, 7, 30, 63, 64, 65, 100, 129]
FILTERS: list[dict[str, Any]] = [
    {},
    {"temperature": 0.0},
    {"temperature": 0.7},
    {"temperature": 1.8},
    {"temperature": 1e-6},
    {"temperature": 1e6},
    {"top_k": 1},
    {"top_k": 5},
    {"top_k": 5, "ties": "keep"},
    {"top_p": 0.5},
    {"top_p": 0.9},
    {"top_p": 0.9, "ties": "keep"},
    {"min_p": 0.05},
    {"min_p": 1.0},
    {"temperature": 0.8, "top_k": 20, "top_p": 0.9, "min_p": 0.02},
    {"temperature": 1.2, "top_k": 20, "top_p": 0.9, "min_p": 0.02, "ties": "keep"},
]
ABOUT = (
    "Rows and what onedraw answers for them: made by make_vectors.py from tests/oracle, "
    "read by test_vectors.py on every kernel; tests/frozen.py states the form."
)
# Rows as long as real vocabularies; the longest are split over threads.
LONG = [
    (50_257, {}),
    (50_257, {"top_p": 0.9}),
    (262_144, {"temperature": 1.5}),
    (262_144, {"top_p": 0.95}),
    (128_256, {"min_p": 0.02}),
    (128_256, {"temperature": 0.8, "top_k": 50, "top_p": 0.9}),
]


def noise(chance: random.Random) -> dict[str, int]:
    return {
        "seed": chance.choice([chance.getrandbits(64), chance.getrandbits(10), -1, -(2**63)]),
        "stream": chance.choice([0, 0, chance.getrandbits(32)]),
        "position": chance.choice([chance.getrandbits(10), chance.getrandbits(32)]),
    }


def edits(chance: random.Random, v: int) -> dict[str, Any]:
    """Nothing, a mask, a bias of some tokens, a bias of all."""
    match chance.randrange(8):
        case 0:
            return {"allowed": "".join(chance.choice("01") for _ in range(v))}
        case 1:
            some = sorted({chance.randrange(v) for _ in range(3)})
            values = [2.5, -1.0, -np.inf]
            return {"logit_bias": {str(i): frozen.to_hex(chance.choice(values)) for i in some}}
        case 2:
            return {"logit_bias": frozen.to_hex([chance.gauss(0, 2) for _ in range(v)])}
    return {}


def small_rows(chance: random.Random) -> Iterator[frozen.Entry]:
    """Every kind of row with every second set of filters, of any small length."""
    for k, kind in enumerate(rows.KINDS):
        for filters in FILTERS[k % 2 :: 2] if kind != "with_nan" else FILTERS[:2]:
            for _ in range(3):
                v = chance.choice(LENGTHS)
                row = frozen.to_hex(rows.make(kind, chance.getrandbits(32), v))
                yield {"logits": row, "options": filters | noise(chance) | edits(chance, v)}
    yield {"logits": frozen.to_hex([-np.inf] * 5), "options": noise(chance)}
    yield {"logits": frozen.to_hex([1, 2]), "options": {"allowed": "00"} | noise(chance)}


def large_rows(chance: random.Random) -> Iterator[frozen.Entry]:
    """Generated rows, every second one with ties."""
    lengths = [1000, 4999, 5000, 5003]
    cases = [(lengths[i % 4], FILTERS[i % 16]) for i in range(32)] + LONG
    for i, (v, filters) in enumerate(cases):
        row = {"seed": chance.getrandbits(32), "v": v, "coarse": 10 * (i // 2 % 2)}
        yield {"logits": row, "options": filters | noise(chance)}


def several_samples(chance: random.Random) -> Iterator[frozen.Entry]:
    """Rows of weights, as `multinomial` takes them."""
    for i in range(40):
        v = chance.choice(LENGTHS)
        weights = np.array([chance.choice([chance.random(), 0.0, 1.0]) for _ in range(v)])
        weights *= chance.choice([1.0, 1.0, 1e-38, 1e38])
        if i % 10 == 9:
            weights[chance.randrange(v)] = chance.choice([-1.0, np.inf, np.nan])
        samples = {"num_samples": chance.choice([2, 3, 8]), "replacement": bool(i % 2)}
        yield {"weights": frozen.to_hex(weights), "options": samples | noise(chance)}


def answered(entry: frozen.Entry) -> frozen.Entry:
    """Add the oracle's answer to an entry."""
    reals = ("temperature", "top_p", "min_p")
    entry["options"] |= {name: f32(x) for name, x in entry["options"].items() if name in reals}
    options = frozen.options_of(entry)
    options["bias"] = options.pop("logit_bias", None)
    weights = "weights" in entry
    top = 0 if weights else min(TOP, len(frozen.row_of(entry)))
    answer = oracle.row(frozen.row_of(entry).tolist(), weights=weights, top=top, **options)
    return entry | {"answer": frozen.answer_of(answer)}


def main() -> None:
    chance = random.Random(20)
    entries = [*small_rows(chance), *large_rows(chance), *several_samples(chance)]
    lines = ",\n".join(json.dumps(answered(entry)) for entry in entries)
    head = json.dumps({"about": ABOUT, "spec_version": onedraw.SPEC_VERSION})
    frozen.FILE.write_text(f'{head[:-1]}, "rows": [\n{lines}\n]}}\n')
    print(f"{len(entries)} rows, {frozen.FILE.stat().st_size} bytes: {frozen.FILE}")


if __name__ == "__main__":
    main()
