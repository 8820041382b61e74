"""Key-value caches: one that grows by doubling, where transformers' own copies all of it each token; a fixed one."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from transformers.cache_utils import (
    CacheLayerMixin,
    DynamicCache,
    DynamicLayer,
    StaticCache,
    StaticLayer,
    StaticSlidingWindowLayer,
)

__all__ = ["GrowingLayer", "attends", "new_cache", "static_cache"]

SPARE = 64  # tokens of room at first: a prompt that ends soon wastes little


class GrowingLayer(DynamicLayer):  # type: ignore[misc]
    """Keys and values [B, H, T, D] of one layer, as views of buffers [B, H, room, D]."""

    def __init__(self, longest: int) -> None:
        super().__init__()
        self.longest = longest  # never more room than this
        self.length = 0
        self.buffers: tuple[Tensor, Tensor] | None = None

    def update(
        self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        """Append keys and values [B, H, t, D]; returns all of them."""
        first, last = self.length, self.length + key_states.shape[-2]
        if self.buffers is None or last > self.buffers[0].shape[-2]:
            self._grow(key_states, value_states, last)
        assert self.buffers is not None
        keys, values = self.buffers
        keys.narrow(2, first, last - first).copy_(key_states)
        values.narrow(2, first, last - first).copy_(value_states)
        return self._show(last)

    def _grow(self, key_states: Tensor, value_states: Tensor, needed: int) -> None:
        room = max(needed, min(self.longest, max(2 * self.length, needed + SPARE)))
        new = tuple(
            states.new_empty((*states.shape[:2], room, states.shape[-1]))
            for states in (key_states, value_states)
        )
        if self.buffers is not None:
            for target, source in zip(new, self.buffers, strict=True):
                target[:, :, : self.length] = source[:, :, : self.length]
        self.buffers = (new[0], new[1])
        self.dtype, self.device = key_states.dtype, key_states.device
        self.is_initialized = True

    def _show(self, length: int) -> tuple[Tensor, Tensor]:
        """Let `keys` and `values`, which transformers reads, be the first `length` tokens."""
        assert self.buffers is not None
        keys, values = self.buffers
        self.length = length
        self.keys, self.values = keys, values = (
            keys.narrow(2, 0, length),
            values.narrow(2, 0, length),
        )
        return keys, values

    def get_seq_length(self) -> int:
        """How many tokens are in the cache."""
        return self.length

    def batch_select_indices(self, indices: Tensor) -> None:
        """Keep some rows of the batch."""
        self._rebuild(lambda filled: filled.index_select(0, indices))

    def batch_repeat_interleave(self, repeats: int) -> None:
        """Repeat each row of the batch."""
        self._rebuild(lambda filled: filled.repeat_interleave(repeats, 0))

    def _rebuild(self, change: Any) -> None:
        """Put the rows that `change` makes of the filled part into new buffers with as much room."""
        if self.buffers is None:
            return
        room = self.buffers[0].shape[-2]
        new = []
        for buffer in self.buffers:
            filled = change(buffer[:, :, : self.length])
            target = filled.new_empty((*filled.shape[:2], room, filled.shape[-1]))
            target[:, :, : self.length] = filled
            new.append(target)
        self.buffers = (new[0], new[1])
        self._show(self.length)


def new_cache(config: Any, longest: int, *, padded: bool = False) -> DynamicCache:
    """Transformers' cache for a model with `config`, with our layers in the place of its plain ones.

    Layers of another kind (sliding window, linear attention) stay what they are. With padding (`padded`) all
    say that they could be compiled: else, with sdpa, transformers looks in each step whether the mask masks
    anything, which on a device is to wait for it.
    """
    cache = DynamicCache(config=config)
    cache.layers = [
        GrowingLayer(longest) if type(layer) is DynamicLayer else layer for layer in cache.layers
    ]
    for layer in cache.layers:
        if padded and isinstance(layer, DynamicLayer):
            layer.is_compileable = True
    return cache


def attends(cache: DynamicCache) -> bool:
    """Whether any layer looks back at tokens: a purely recurrent model takes no mask after the prompt."""
    return not cache.layers or any(isinstance(layer, CacheLayerMixin) for layer in cache.layers)


def static_cache(config: Any, longest: int) -> StaticCache:
    """Transformers' cache of a fixed size for a model with `config`: a step is the same launches each time.

    Its layers with a sliding window count their tokens on the host, which a graph would repeat as they
    were. In their place stand plain ones, with room for all tokens: the model makes its mask for the length
    of the layer, and the mask has the window.
    """
    cache = StaticCache(config=config, max_cache_len=longest)
    for layer in cache.layers:
        if type(layer) not in (StaticLayer, StaticSlidingWindowLayer):
            raise ValueError(
                "cuda_graph must be left out for a model whose layers keep more than keys and values, got a "
                f"cache with a {type(layer).__name__}"
            )
    cache.layers = [StaticLayer(max_cache_len=longest) for _ in cache.layers]
    return cache
