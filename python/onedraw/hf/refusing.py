"""What `generate` was asked for that FastLoop cannot do, as errors that say so."""

from __future__ import annotations

import sys
from typing import Any

from transformers.generation.utils import GenerationMixin

__all__ = ["refuse"]

CALLERS = 8  # how far up `generate` is looked for: it calls FastLoop itself, or something around it
CACHES = (
    "cache",
    "past_key_values",
    "cache_params",
)  # what models call theirs, in one version or another
PATCH = "with onedraw.hf.patch(...) plain generate does that"

# What `generate` passes on by itself, and FastLoop has of its own or reads.
PASSED = ("attention_mask", "position_ids", "use_cache", "logits_to_keep", *CACHES)


def refuse(model: Any, config: Any, inputs: dict[str, Any]) -> None:
    """Raise for what is not supported: by the model, in the generation config, of the `inputs` of the model.

    `generate` drops some arguments where it is given a loop; these are found in its frame.
    """
    given = _given_to_generate()
    found = _dropped(given) + _configured(config)
    if found:
        name, value, why = found[0]
        raise ValueError(f"{name} must be left out with FastLoop, got {value!r}: {why}; {PATCH}")
    kind = type(model)
    why_not = None
    if getattr(model.config, "is_encoder_decoder", False):
        why_not = "it has an encoder"
    elif not getattr(model, "_supports_default_dynamic_cache", lambda: True)():
        why_not = "it keeps no cache of keys and values"
    else:
        for name in ("_sample", "prepare_inputs_for_generation"):
            if getattr(kind, name) is not getattr(GenerationMixin, name):
                why_not = f"it has a {name} of its own"
    if why_not:
        raise ValueError(
            f"FastLoop is for decoders whose loop is transformers' own, got a {kind.__name__}: {why_not}; {PATCH}"
        )
    others = [name for name, value in inputs.items() if name not in PASSED and value is not None]
    others = [name for name in others if inputs[name] is not False]
    if others:
        raise ValueError(
            f"{', '.join(others)} must be left out with FastLoop, which gives the model input_ids and "
            f"attention_mask alone; {PATCH}"
        )


def _given_to_generate() -> dict[str, Any]:
    """The arguments of the `generate` that calls, the unnamed ones among them."""
    frame = sys._getframe(1)
    for _ in range(CALLERS):
        if frame.f_back is None:
            break
        frame = frame.f_back
        home = frame.f_globals.get("__name__")
        if frame.f_code.co_name == "generate" and home == "transformers.generation.utils":
            found = frame.f_locals
            return {**found.get("kwargs", {}), **found}
    raise RuntimeError(
        "FastLoop is for model.generate(..., custom_generate=FastLoop(...)) of transformers, and was called by "
        "something else (onedraw.generate is a loop to call)"
    )


def _dropped(given: dict[str, Any]) -> list[tuple[str, Any, str]]:
    """Arguments that `generate` takes, and passes to no loop of this kind."""
    found = []
    if given.get("streamer") is not None:
        why = "transformers does not pass it on; FastLoop(streamer=...) takes it"
        found.append(("streamer", given["streamer"], why))
    if given.get("assistant_model") is not None:
        kind = type(given["assistant_model"]).__name__
        found.append(("assistant_model", kind, "it writes without a draft"))
    if given.get("synced_gpus"):
        found.append(("synced_gpus", True, "each process ends by itself"))
    for name in CACHES:
        if given.get(name) is not None and name in given.get("kwargs", {}):
            found.append((name, type(given[name]).__name__, "it begins with a cache of its own"))
    if given.get("position_ids") is not None and "position_ids" in given.get("kwargs", {}):
        found.append(("position_ids", "some", "it counts them by the attention_mask"))
    return found


def _configured(config: Any) -> list[tuple[str, Any, str]]:
    """Settings of the generation config that ask for another loop, or another cache."""
    found = []
    mode = str(config.get_generation_mode(None).value)
    if mode not in ("sample", "greedy_search"):
        beams = "num_beams" if (config.num_beams or 1) > 1 else mode
        value = config.num_beams if beams == "num_beams" else True
        found.append((beams, value, f"{mode.replace('_', ' ')} is another loop"))
    if config.cache_implementation not in (None, "dynamic"):
        why = "its cache is dynamic (onedraw.generate(cuda_graph=True) has a static one)"
        found.append(("cache_implementation", config.cache_implementation, why))
    if config.use_cache is False:
        found.append(("use_cache", False, "it needs its cache"))
    if config.prefill_chunk_size is not None:
        found.append(("prefill_chunk_size", config.prefill_chunk_size, "a prompt is read at once"))
    for name in ("output_attentions", "output_hidden_states"):
        if getattr(config, name):
            found.append((name, True, "it keeps none"))
    return found
