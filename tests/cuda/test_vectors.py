"""The frozen vectors on the CUDA kernel, against the file itself and, bit for bit, against the CPU's kernel."""

import sys
from pathlib import Path
from typing import Any

import pytest
import torch

sys.path.append(str(Path(__file__).parent))

from cuda_job import Case, differences, on_cuda

import frozen
import oracle

ROWS = frozen.load()["rows"]


def case_of(entry: frozen.Entry) -> Case:
    """The entry's row [V], with what its options say."""
    options: dict[str, Any] = {"seed": 0, "position": 0, **frozen.options_of(entry)}
    x = torch.from_numpy(frozen.row_of(entry))
    flags = {name: options.pop(name) for name in ("num_samples", "replacement") if name in options}
    if "weights" in entry:
        return Case(x, options, {**flags, "weights": True})
    flags["ties_keep"] = options.pop("ties", "first") == "keep"
    allowed, bias = options.pop("allowed", None), options.pop("logit_bias", None)
    case = Case(x, options, flags, top=len(entry["answer"].get("top_tokens", [])) or 1)
    if allowed is not None:
        case.allowed = torch.tensor(allowed)
    if isinstance(bias, dict):
        ids = sorted(bias)
        ends = torch.tensor([0, len(ids)])
        values = torch.tensor([bias[i] for i in ids], dtype=torch.float32)
        case.sparse = (ends, torch.tensor(ids, dtype=torch.int64), values)
    elif bias is not None:
        case.bias = torch.tensor(bias, dtype=torch.float32)
    return case


@pytest.mark.parametrize("index", range(len(ROWS)))
def test_row(device, index):
    entry = ROWS[index]
    case, answer = case_of(entry), entry["answer"]
    got = on_cuda(case, device)
    assert got["status"].item() == answer["status"]
    assert got["token"].flatten().tolist()[: len(answer["tokens"])] == answer["tokens"]
    if answer["status"] == oracle.OK and "logits" in entry:
        assert got["rank"].item() == answer["rank"]
        assert got["num_kept"].item() == answer["num_kept"]
        kept = got["kept"].nonzero()[:, -1]
        assert frozen.digest(kept.numpy(), "<i8") == answer["kept"]
        assert frozen.digest(got["probs"].numpy(), "<f4") == answer["probs"]
    assert not differences(case, device)
