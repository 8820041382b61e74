"""What the plugin touches of vLLM, written down: so that it is tested where vLLM is not installed."""

import enum
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from types import ModuleType, SimpleNamespace
from typing import Any

import torch
from torch import Tensor

OURS = ("onedraw.vllm", "onedraw.vllm.installing", "onedraw.vllm.v1", "onedraw.vllm.v2")


class MoveDirectionality(enum.Enum):
    UNIDIRECTIONAL = enum.auto()
    SWAP = enum.auto()


@dataclass
class BatchUpdate:
    batch_size: int
    removed: list[int] = field(default_factory=list)
    added: list[tuple[int, Any, Any, list[int]]] = field(default_factory=list)
    moved: list[tuple[int, int, MoveDirectionality]] = field(default_factory=list)


class LogitsProcessor:
    pass


class MinPLogitsProcessor(LogitsProcessor):
    """Of every row: probabilities below min_p times the largest are cut."""

    def __init__(self, min_p: list[float]) -> None:
        self.min_p = torch.tensor(min_p)[:, None]

    def apply(self, logits: Tensor) -> Tensor:
        probs = logits.softmax(-1)
        return logits.masked_fill_(probs < probs.amax(-1, keepdim=True) * self.min_p, -torch.inf)


class Sampler:
    """Of model runner V1: its own draw is told by its tokens, -1."""

    logprobs_mode = "raw_logprobs"

    def sample(
        self, logits: Tensor, sampling_metadata: Any, logprobs_mode_override: Any = None
    ) -> tuple[Tensor, Any]:
        self.generators = dict(sampling_metadata.generators)
        return torch.full((logits.shape[0],), -1), None


class SamplerV2:
    """Of model runner V2: its own draw is told by its tokens, -1."""

    logprobs_mode = "raw_logprobs"
    return_sampling_mask = False

    def __init__(self, temperature: Tensor, seeds: Tensor) -> None:
        gpu = SimpleNamespace
        self.sampling_states = gpu(temperature=gpu(gpu=temperature), seeds=gpu(gpu=seeds))

    def _sample_random(
        self,
        processed_logits,
        expanded_idx_mapping,
        idx_mapping_np,
        pos,
        top_k,
        top_p,
        use_fused_sampler,
    ):
        return torch.full((processed_logits.shape[0],), -1), processed_logits


def params(**given: Any) -> SimpleNamespace:
    off = {"temperature": 1.0, "top_k": 0, "top_p": 1.0, "min_p": 0.0, "seed": None}
    return SimpleNamespace(**(off | given))


def metadata(*processors: Any, **given: Any) -> SimpleNamespace:
    procs = SimpleNamespace(argmax_invariant=list(processors))
    off = {"all_greedy": False, "max_num_logprobs": None, "logprob_token_ids": None}
    return SimpleNamespace(logitsprocs=procs, generators={}, **(off | given))


CONFIG = SimpleNamespace(
    parallel_config=SimpleNamespace(data_parallel_rank=0), model_config=SimpleNamespace(seed=0)
)


def put_into(modules: Callable[[dict[str, Any], str, Any], None]) -> dict[str, Any]:
    """Make `import vllm...` find this; `modules(sys.modules, name, module)` sets an entry."""
    for name in OURS:
        modules(sys.modules, name, None)
        del sys.modules[name]
    contents: dict[str, dict[str, Any]] = {
        "vllm": {},
        "vllm.v1": {},
        "vllm.v1.sample": {},
        "vllm.v1.sample.sampler": {"Sampler": Sampler},
        "vllm.v1.sample.logits_processor": {"BUILTIN_LOGITS_PROCESSORS": []},
        "vllm.v1.sample.logits_processor.interface": {
            "LogitsProcessor": LogitsProcessor,
            "MoveDirectionality": MoveDirectionality,
        },
        "vllm.v1.worker": {},
        "vllm.v1.worker.gpu": {},
        "vllm.v1.worker.gpu.sample": {},
        "vllm.v1.worker.gpu.sample.sampler": {"Sampler": SamplerV2},
    }
    for name, names in contents.items():
        module = ModuleType(name)
        module.__dict__.update(names)
        module.__path__ = []  # type: ignore[attr-defined]
        modules(sys.modules, name, module)
    return contents
