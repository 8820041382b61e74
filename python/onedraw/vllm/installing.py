"""Puts onedraw into the place of vLLM's samplers, where they are what is known."""

from __future__ import annotations

import ast
import hashlib
import inspect
import textwrap
from collections.abc import Callable
from importlib import import_module
from typing import Any

__all__ = ["fingerprint", "install", "uninstall"]

# What the function that is replaced did, without comments and annotations: `fingerprint` of it.
V1_SAMPLE = {"94c4fd": "0.22 to 0.33"}
# The arguments of the function that is replaced.
V2_ARGUMENTS = {
    "self processed_logits expanded_idx_mapping idx_mapping_np pos top_k top_p " + more: versions
    for more, versions in {
        "use_flashinfer": "0.30",
        "use_fused_sampler": "0.31 and 0.32",
        "has_topp_only_rows use_fused_sampler": "0.33",
    }.items()
}

_stock: list[Callable[[], None]] = []  # what takes an installation back, the newest last


def fingerprint(function: Callable[..., Any]) -> str:
    """Six digits that say what a function does: equal however it is commented, annotated or laid out."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(function))).body[0]
    assert isinstance(tree, ast.FunctionDef)
    tree.returns = None
    for argument in tree.args.args:
        argument.annotation = None
    if ast.get_docstring(tree) is not None:
        tree.body = tree.body[1:] or [ast.Pass()]
    return hashlib.sha256(ast.unparse(tree).encode()).hexdigest()[:6]


def install() -> list[str]:
    """Let vLLM draw through onedraw, in this process; says in which of its model runners.

    Called again it changes nothing.

    Raises
    ------
    RuntimeError
        This vLLM has no sampler that is known; says why. Nothing was changed.
    """
    if _stock:
        return ["vLLM (installed before)"]
    installed, problems = [], []
    for name, put in (("model runner V1", _install_v1), ("model runner V2", _install_v2)):
        try:
            put()
            installed.append(name)
        except Exception as problem:  # the other one may still work
            problems.append(f"{name}: {type(problem).__name__}: {problem}")
    if not installed:
        raise RuntimeError("; ".join(problems))
    return installed


def uninstall() -> None:
    """Give vLLM its own samplers back, for engines that are made from here on too."""
    while _stock:
        _stock.pop()()


def _install_v1() -> None:
    sampler = import_module("vllm.v1.sample.sampler").Sampler
    known = fingerprint(sampler.sample)
    if known not in V1_SAMPLE:
        raise RuntimeError(
            f"its Sampler.sample ({known}) is none that is known: {V1_SAMPLE}; a later onedraw may know it"
        )
    processors = import_module("vllm.v1.sample.logits_processor").BUILTIN_LOGITS_PROCESSORS
    from .v1 import Requests, sample_with

    own = sampler.sample
    sampler.sample = sample_with(own)
    processors.append(Requests)

    def back() -> None:
        sampler.sample = own
        processors.remove(Requests)

    _stock.append(back)


def _install_v2() -> None:
    sampler = import_module("vllm.v1.worker.gpu.sample.sampler").Sampler
    arguments = " ".join(inspect.signature(sampler._sample_random).parameters)
    if arguments not in V2_ARGUMENTS:
        raise RuntimeError(
            f"its Sampler._sample_random has arguments that are not known: {arguments}"
        )
    from .v2 import sample_random_with

    own = sampler._sample_random
    sampler._sample_random = sample_random_with(own)

    def back() -> None:
        sampler._sample_random = own

    _stock.append(back)
