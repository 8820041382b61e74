"""How a launch is laid out changes no answer; the table that says so can be listed, and overruled."""

import sys
from pathlib import Path

import pytest
import torch

sys.path.append(str(Path(__file__).parent))

from cuda_job import Case, differences, on_cuda

from onedraw import _core

CASES = {
    "temperature": {"temperature": 0.8},
    "greedy": {"temperature": 0.0},
    "top_k": {"top_k": 50},
    "nucleus": {"top_p": 0.9},
    "all filters": {"top_k": 3000, "top_p": 0.99, "min_p": 1e-5},
}
LAYOUTS = (1, 2, 3, 31, 256)  # thread blocks a row; the last are more than there are parts to fill


@pytest.fixture(params=LAYOUTS)
def parts(request):
    _core.cuda_force_parts(request.param)
    yield request.param
    _core.cuda_force_parts(0)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("outputs", [("token", "status"), ("token", "logprob", "kept", "rank")])
def test_a_layout_changes_no_answer(device, parts, name, outputs):
    generator = torch.Generator().manual_seed(parts)
    x = 3 * torch.randn(2, 9001, generator=generator)
    x[1] = x[1].round()
    settings = {"seed": 4, "position": 9, **CASES[name]}
    assert not differences(Case(x, settings, outputs=outputs), device)
    x[0, 8999] = float("nan")  # in the last part
    assert not differences(Case(x, settings, outputs=outputs), device)


def test_the_table_ascends():
    table = _core.cuda_tuning()
    architectures = [line["architecture"] for line in table]
    assert architectures == sorted(set(architectures))
    assert architectures[0] <= 75
    for line in table:
        assert line["threads"] == 256
        assert line["blocks_per_processor"] >= 1
        assert line["least_logits_of_a_part"] % 64 == 0


def test_parts_are_not_negative():
    with pytest.raises(ValueError, match="parts must be 0"):
        _core.cuda_force_parts(-1)


@pytest.mark.parametrize("name", ["position", "stream"])
def test_a_word_out_of_range_is_a_status(device, name):
    values = torch.tensor([5, -1, 2**32, 2**32 - 1])
    case = Case(torch.randn(4, 70), {"seed": 1, name: values}, outputs=("token", "status"))
    got = on_cuda(case, device)
    assert got["status"].tolist() == [0, 3, 3, 0]
    assert got["token"].flatten().tolist()[1:3] == [0, 0]


def test_each_step_has_its_own_position(device):
    x = torch.randn(2, 3, 70)
    case = Case(x, {"seed": 1, "position": torch.tensor([7, 2**32 - 2])}, outputs=("status",))
    assert on_cuda(case, device)["status"].tolist() == [0, 0, 0, 0, 0, 3]
