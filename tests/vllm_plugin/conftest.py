import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parent))

from engine import PYTHON, Vllm


@pytest.fixture(scope="session")
def vllm(tmp_path_factory):
    """vLLM with the default model, saved as it wants it."""
    if not PYTHON.exists():
        pytest.skip(f"vLLM is not installed in {PYTHON.parent.parent.name}: make vllm installs it")
    import torch

    import onedraw.models

    folder = tmp_path_factory.mktemp("model")
    model, tokenizer = onedraw.models.load()
    model.to(torch.float32).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return Vllm(folder)
