"""The draws as operators of torch, for what has no memory to read: a traced call, a fake tensor.

`torch.compile`, `torch.export` and `FakeTensorMode` see one operator with all that a draw depends on
among its arguments. Its kernel is the ordinary call, checks and errors included, at the time that the
graph runs. A direct call does not come here: an operator costs more than a draw from a short row.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from itertools import pairwise
from typing import Any, ParamSpec, TypeVar

import torch
from torch import Tensor

from . import ops
from .errors import shown
from .params import MIN_P, POSITION, SEED, STREAM, TEMPERATURE, TOP_K, TOP_P, Rule, merge, signed
from .results import ALWAYS, DTYPES, OPTIONAL, by_request, draw_of, report_names

__all__ = ["check_traceable", "settings", "settings_of", "step", "traceable", "traced"]

P = ParamSpec("P")
R = TypeVar("R")

RULES = (TEMPERATURE, TOP_K, TOP_P, MIN_P, SEED, STREAM, POSITION)

# Each parameter is a number or, in `rows` (in the order of RULES), a tensor with one a row. A sparse
# bias is offsets, ids and values, as the core takes it; without offsets there is none.
ARGUMENTS = {
    **{rule.name: "float?" if rule.real else "SymInt?" for rule in RULES},
    "rows": "Tensor?[]",
    "allowed": "Tensor?",
    "bias": "Tensor?",
    "bias_offsets": "SymInt[]",
    "bias_ids": "SymInt[]",
    "bias_values": "float[]",
    "ties": "str?",
    "bad_token": "SymInt",
    "raise_on_bad": "bool",
    "fallback": "str?",
    "outputs": "str",  # names as the core has them, with commas
    "top": "SymInt",
}
SCHEMA = ", ".join(f"{kind} {name}" for name, kind in ARGUMENTS.items()) + ") -> Tensor[]"
TAGS = (torch.Tag.pt2_compliant_tag, torch.Tag.nondeterministic_seeded)


def traced(x: object) -> bool:
    """Whether a call with logits `x` is being recorded, or only asks for shapes."""
    if torch.compiler.is_compiling():
        return True
    return type(x) is not Tensor and isinstance(x, torch._subclasses.FakeTensor)


def _kernel(logits: Tensor, *arguments: Any) -> list[Tensor]:
    """Run the ordinary call."""
    from . import functional

    given = dict(zip(ARGUMENTS, arguments, strict=True))
    for rule, row in zip(RULES, given.pop("rows"), strict=True):
        if row is not None:
            given[rule.name] = row
    sparse = _mappings(*(given.pop(f"bias_{part}") for part in ("offsets", "ids", "values")))
    dense = given.pop("bias")
    given["logit_bias"] = sparse if dense is None else dense
    names, top = given.pop("outputs").split(","), given.pop("top")
    if names == ["token", "status"]:
        status = torch.empty(logits.shape[:-1], dtype=torch.int32, device=logits.device)
        return [functional.sample(logits, **given, status_out=status), status]
    if names in (["kept"], ["probs"]):
        for name in ("seed", "stream", "position", "bad_token"):
            del given[name]
        return [getattr(functional, {"kept": "kept_mask"}.get(*names, *names))(logits, **given)]
    report = [name for name in names if name in OPTIONAL]
    record = functional.draw(logits, **given, report=report, top_logprobs=top)
    # A record says top_tokens, the core top_token.
    return [getattr(record, f"{name}s" if name.startswith("top_") else name) for name in names]


def _shapes(logits: Tensor, *arguments: Any) -> list[Tensor]:
    """What a call gives, as far as shapes and dtypes go."""
    *_, outputs, top = arguments
    made = []
    for name in outputs.split(","):
        shape: tuple[int, ...] = logits.shape[:-1]
        if name in ("kept", "probs"):
            shape = logits.shape
        elif name.startswith("top_"):
            shape = (*shape, top)
        made.append(logits.new_empty(shape, dtype=DTYPES.get(name, torch.float32)))
    return made


_draw = torch.library.custom_op(
    "onedraw::draw", _kernel, mutates_args=(), schema=f"(Tensor logits, {SCHEMA}", tags=TAGS
)
_draw.register_fake(_shapes)


def settings(
    params: Any = None,
    *,
    allowed: Any = None,
    logit_bias: Any = None,
    bad_token: Any = 0,
    raise_on_bad: bool = True,
    fallback: str | None = None,
    **values: Any,
) -> dict[str, Any]:
    """The arguments of an operator but for the outputs, from those of a call."""
    if params is not None:
        names = (*(rule.name for rule in RULES[:4]), "ties", "seed", "stream")
        values |= zip(names, merge(params, *(values.get(name) for name in names)), strict=True)
    given: dict[str, Any] = {"rows": []}
    for rule in RULES:
        value = values.get(rule.name)
        if isinstance(value, (list, tuple)):
            value = _column(rule, value)
        given["rows"].append(value if isinstance(value, Tensor) else None)
        given[rule.name] = None if isinstance(value, Tensor) else _number(rule, value)
    dense = logit_bias if isinstance(logit_bias, Tensor) else None
    offsets, ids, biases = _sparse(None if dense is not None else logit_bias)
    return given | {
        "allowed": allowed,
        "bias": dense,
        "bias_offsets": offsets,
        "bias_ids": ids,
        "bias_values": biases,
        "ties": values.get("ties"),
        "bad_token": bad_token,
        "raise_on_bad": raise_on_bad,
        "fallback": fallback,
    }


def check_traceable(state: Any, x: Tensor) -> None:
    """Refuse to trace a draw of a Sampler in this `State` from logits `x`."""
    state.check_rows(x)
    if state.seed is None and not state.greedy():
        raise ValueError(
            "seed must be given to a Sampler whose first draw is traced (torch.compile): one that is "
            "taken now would be a constant"
        )


def settings_of(state: Any, allowed: Any, logit_bias: Any, raise_on_bad: bool) -> dict[str, Any]:
    """The same from the `State` of a Sampler and the edits of a call."""
    return settings(
        **{rule.name: getattr(state, rule.name) for rule in RULES[:4]},
        ties="keep" if state.ties_keep else "first",
        seed=0 if state.seed is None else state.seed,
        stream=state.stream,
        allowed=state.allowed if allowed is None else allowed,
        logit_bias=state.logit_bias if logit_bias is None else logit_bias,
        bad_token=state.bad_token,
        raise_on_bad=raise_on_bad,
    )


def _number(rule: Rule, value: Any) -> Any:
    if isinstance(value, bool):
        raise TypeError(f"{rule.name} must be {rule.allowed}, got {shown(value)}")
    if rule is SEED and isinstance(value, int):
        return signed(value)
    return float(value) if rule.real and isinstance(value, int) else value


def _column(rule: Rule, values: Sequence[Any]) -> Tensor:
    """One a row as a tensor on the host, where the call can check it; None is off."""
    column = [_number(rule, rule.off if value is None else value) for value in values]
    dtype = torch.float64 if rule.real else torch.int64
    return torch.tensor(column, dtype=dtype, device="cpu")


def _sparse(logit_bias: Any) -> tuple[list[int], list[int], list[float]]:
    """Mappings, one for all or one a row, as offsets, ids and values."""
    if logit_bias is None:
        return [], [], []
    rows = [logit_bias] if isinstance(logit_bias, Mapping) else logit_bias
    if not isinstance(rows, (list, tuple)):
        raise TypeError(f"logit_bias must be mappings or a tensor here, got {shown(logit_bias)}")
    offsets, ids, values = [0], [], []
    for row in rows:
        for token, value in (row or {}).items():
            ids.append(token)
            values.append(float(value))
        offsets.append(len(ids))
    return offsets, ids, values


def _mappings(offsets: Sequence[int], ids: Sequence[int], values: Sequence[float]) -> Any:
    """What `_sparse` was given."""
    if not offsets:
        return None
    pairs = list(zip(ids, values, strict=True))
    rows = [dict(pairs[first:last]) for first, last in pairwise(offsets)]
    return rows[0] if len(rows) == 1 else rows


def _names(report: object, top: int) -> tuple[str, ...]:
    """The outputs of a record."""
    tops = ("top_token", "top_logprob") if top else ()
    return (*ALWAYS, *report_names(report), *tops)


def _called(
    name: str,
    logits: Tensor,
    *,
    out: Tensor | None = None,
    status_out: Tensor | None = None,
    keepdim: bool = False,
    generator: object = None,
    report: object = (),
    top_logprobs: int = 0,
    **given: Any,
) -> Any:
    """A function of the package, called with keywords: the operator, and what is done with its outputs."""
    if generator is not None:
        raise TypeError(
            "generator must be left out where a call is traced: give a seed and position"
        )
    arguments = settings(**given)
    whole = {"kept_mask": "kept", "probs": "probs"}.get(name)
    names: tuple[str, ...] = ("token", "status") if whole is None else (whole,)
    if name == "draw":
        names = _names(report, top_logprobs)
    made = dict(zip(names, _ask(logits, arguments, names, top_logprobs), strict=True))
    if status_out is not None:
        status_out.copy_(made["status"])
    if whole is not None:
        return made[whole]
    if keepdim:
        made = {
            key: x if key.startswith(("top_", "status")) else x.unsqueeze(-1)
            for key, x in made.items()
        }
    if out is not None:
        made["token"] = out.copy_(made["token"])
    return draw_of(made) if name == "draw" else made["token"]


def traceable(function: Callable[P, R]) -> Callable[P, R]:
    """`function` of logits and keywords, which where it is traced becomes an operator."""
    name = function.__name__

    @wraps(function)
    def call(*logits: P.args, **given: P.kwargs) -> R:
        first = logits[0] if logits else given.get("logits")
        if not traced(first):
            return function(*logits, **given)
        given.pop("logits", None)
        result: R = _called(name, first, **given)  # type: ignore[arg-type]
        return result

    return call


def _ask(logits: Tensor, given: dict[str, Any], names: Sequence[str], top: int = 0) -> list[Tensor]:
    arguments = given | {"outputs": ",".join(names), "top": top}
    results: list[Tensor] = _draw(logits.detach(), *(arguments[name] for name in ARGUMENTS))
    return results


def step(
    logits: Tensor,
    positions: Tensor,
    worst: Tensor,
    given: dict[str, Any],
    report: object = None,
    top: int = 0,
) -> dict[str, Tensor]:
    """A step of a Sampler: `positions` [B] go on; with `report` None, the token and status alone."""
    names = ("token", "status") if report is None else _names(report, top)
    given = given | {"rows": [*given["rows"][:-1], positions]}
    made = dict(zip(names, _ask(logits, given, names, top), strict=True))
    worst.copy_(torch.maximum(worst, by_request(made["status"])))
    positions.add_(ops.steps_of(logits))
    return made
