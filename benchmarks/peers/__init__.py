"""The peers: ways to draw one token a row, each behind the same two functions."""

from benchmarks.peers import (
    flashinfer_path,
    floor,
    huggingface,
    numpy_path,
    onedraw_path,
    torch_idiom,
    torch_smart,
    vllm_triton,
)
from benchmarks.peers.base import Draw, Peer

PEERS: dict[str, Peer] = {
    "floor": Peer(floor.prepare, None),
    "onedraw": Peer(onedraw_path.prepare, onedraw_path.kept),
    "onedraw core": Peer(onedraw_path.prepare_core, None, devices=("cpu",)),
    "torch idiom": Peer(torch_idiom.prepare, torch_idiom.kept),
    "torch smart": Peer(torch_smart.prepare, torch_smart.kept),
    "huggingface": Peer(huggingface.prepare, huggingface.kept),
    "numpy": Peer(numpy_path.prepare, numpy_path.kept, devices=("cpu",)),
    "flashinfer": Peer(
        flashinfer_path.prepare, flashinfer_path.kept, devices=("cuda",), module="flashinfer"
    ),
    "vllm triton": Peer(
        vllm_triton.prepare,
        vllm_triton.kept,
        devices=("cuda",),
        module="vllm",
        can=lambda filters: filters.min_p is None,
    ),
}

__all__ = ["PEERS", "Draw", "Peer"]
