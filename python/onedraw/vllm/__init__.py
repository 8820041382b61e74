"""The sampler of vLLM, by a plugin: ``pip install 'onedraw[vllm]'``, and vLLM draws through onedraw.

vLLM calls `register` in each of its processes (entry point ``vllm.general_plugins``). What it then
draws is a function of the logits, the request's sampling parameters, its seed and the position of the
token in its text: not of the requests in its batch, nor of their order. Whatever fails here is a
warning in vLLM's log, and vLLM's own sampler goes on. docs/vllm.md says what is drawn by whom.
"""

from __future__ import annotations

import logging

from .installing import install, uninstall

__all__ = ["install", "register", "uninstall"]

_log = logging.getLogger("vllm.onedraw")  # below vLLM's own, so that its handlers show it


def register() -> None:
    """Install what fits the vLLM that runs here; a warning where nothing does."""
    try:
        install()
    except Exception as problem:  # a plugin must never break a server
        _log.warning("onedraw draws nothing here, vLLM's own sampler does: %s", problem)
