"""The peers: ways to draw one token a row, each behind the same two functions."""

from benchmarks.peers import floor, huggingface, numpy_path, onedraw_path, torch_idiom, torch_smart
from benchmarks.peers.base import Draw, Peer

PEERS: dict[str, Peer] = {
    "floor": Peer(floor.prepare, None),
    "onedraw": Peer(onedraw_path.prepare, onedraw_path.kept),
    "onedraw core": Peer(onedraw_path.prepare_core, None),
    "torch idiom": Peer(torch_idiom.prepare, torch_idiom.kept),
    "torch smart": Peer(torch_smart.prepare, torch_smart.kept),
    "huggingface": Peer(huggingface.prepare, huggingface.kept),
    "numpy": Peer(numpy_path.prepare, numpy_path.kept),
}

__all__ = ["PEERS", "Draw", "Peer"]
