"""What a checkpoint's generation config sets, as far as its author set it."""

from __future__ import annotations

import warnings
from typing import Any

__all__ = ["explicit_settings"]

# What transformers would do with these, we do not do (yet): said, not passed over. Name to "does nothing".
# Not among them is what changes no text without beams: length_penalty, renormalize_logits.
UNSUPPORTED: dict[str, Any] = {
    "repetition_penalty": 1.0,
    "encoder_repetition_penalty": 1.0,
    "no_repeat_ngram_size": 0,
    "encoder_no_repeat_ngram_size": 0,
    "typical_p": 1.0,
    "epsilon_cutoff": 0.0,
    "eta_cutoff": 0.0,
    "top_h": None,
    "num_beams": 1,
    "penalty_alpha": None,
    "guidance_scale": 1.0,
    "sequence_bias": None,
    "bad_words_ids": None,
    "suppress_tokens": None,
    "begin_suppress_tokens": None,
    "min_length": 0,
    "exponential_decay_length_penalty": None,
    "remove_invalid_values": False,
    "max_time": None,
    "token_healing": False,
    "constraints": None,
    "force_words_ids": None,
    "dola_layers": None,
    "forced_bos_token_id": None,
    "forced_eos_token_id": None,
    "watermarking_config": None,
}


def explicit_settings(model: Any) -> dict[str, Any]:
    """What `model.generation_config` sets, without the defaults of its class (such as top_k=50).

    Warns of settings that change the text and that `onedraw.generate` does not apply.
    """
    config = getattr(model, "generation_config", None)
    if config is None:
        return {}
    given = {name: value for name, value in config.to_diff_dict().items() if value is not None}
    ignored = [
        f"{name}={given[name]!r}"
        for name, nothing in UNSUPPORTED.items()
        if name in given and given[name] not in (nothing, [], {})
    ]
    if ignored:
        warnings.warn(
            f"the model's generation config sets {', '.join(ignored)}, which onedraw.generate does not apply",
            UserWarning,
            stacklevel=3,
        )
    return given
