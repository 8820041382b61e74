"""Any call at all: what the CUDA kernel answers is what the CPU's does, bit for bit."""

import os
import sys
from pathlib import Path

from hypothesis import HealthCheck, given, settings

sys.path.append(str(Path(__file__).parent))

from any_case import draws, draws_by_weight
from cuda_job import Case, differences

EXAMPLES = int(os.environ.get("ONEDRAW_EXAMPLES", "200"))  # the same ones in every run
any_call = settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)


@any_call
@given(case=draws())
def test_a_draw(device: str, case: Case) -> None:
    assert not differences(case, device)


@any_call
@given(case=draws_by_weight())
def test_a_draw_by_weight(device: str, case: Case) -> None:
    assert not differences(case, device)
