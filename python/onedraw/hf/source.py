"""The drawing lines of transformers' own loop, replaced in its source; every other line stays."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator
from types import CodeType, FunctionType

__all__ = ["OLDEST", "check_version", "redrawn"]

OLDEST = (5, 2)

# What draws, under `if do_sample:`, and what stands there instead.
DRAWS = """
probs = nn.functional.softmax(next_token_scores, dim=-1)
next_tokens = torch.multinomial(probs, num_samples=1).squeeze(1)
"""
DRAWN = "next_tokens = logits_processor.next_tokens"

# All else that may be done with the logits processors and with what they make.
OTHERS = """
next_token_scores = logits_processor(input_ids, next_token_logits)
scores += (next_token_scores,)
next_tokens = torch.argmax(next_token_scores, dim=-1)
"""
NAMES = {"logits_processor", "next_token_scores", "probs"}


def check_version(version: str, what: str = "patch") -> None:
    """Refuse a transformers before the oldest one that `what` of onedraw.hf is tested with."""
    numbers = tuple(int(part) for part in version.split(".")[:2])
    if numbers < OLDEST:
        oldest = ".".join(map(str, OLDEST))
        raise RuntimeError(
            f"onedraw.hf.{what} needs transformers {oldest} or later, got {version} "
            "(onedraw.hf.OneDraw as a logits processor may work with it)"
        )


def redrawn(sample: object, version: str) -> FunctionType:
    """`GenerationMixin._sample` with its drawing lines replaced by DRAWN, and nothing else.

    Lines keep their numbers, so that a traceback or a debugger shows the installed file.

    Raises
    ------
    RuntimeError
        The function is not the one of transformers, its source cannot be read, or has not the
        lines that are known.
    """

    def unknown(why: str) -> RuntimeError:
        return RuntimeError(
            f"onedraw.hf.patch does not know the loop of transformers {version}: {why}; nothing was "
            "changed (onedraw.hf.OneDraw as a logits processor needs no patch)"
        )

    if (
        not inspect.isfunction(sample)
        or sample.__module__ != "transformers.generation.utils"
        or sample.__qualname__ != "GenerationMixin._sample"
        or hasattr(sample, "__wrapped__")
    ):
        raise unknown(f"GenerationMixin._sample was replaced by {sample!r}")
    try:
        lines, first = inspect.getsourcelines(sample)
    except OSError as error:
        raise unknown(f"its source cannot be read ({error})") from None
    # In a class, as it stands there: its columns are those of the file.
    tree = ast.parse("class GenerationMixin:\n" + "".join(lines))
    ast.increment_lineno(tree, first - 2)
    function = tree.body[0].body[0]  # type: ignore[attr-defined]
    if not isinstance(function, ast.FunctionDef) or function.decorator_list:
        raise unknown("_sample is no plain method")
    _without_values(function)
    if _shape(_compiled(tree, sample.__code__)) != _shape(sample.__code__):
        raise unknown("its source is not what runs (was it upgraded since it was imported?)")
    if (why := _replace(function)) is not None:
        raise unknown(why)
    code = _compiled(tree, sample.__code__)
    made = FunctionType(
        code, sample.__globals__, sample.__name__, sample.__defaults__, sample.__closure__
    )
    made.__kwdefaults__ = sample.__kwdefaults__
    made.__qualname__ = sample.__qualname__
    return made


def _replace(function: ast.FunctionDef) -> str | None:
    """Replace the drawing lines of `function`; why not, where something is not as it is known."""
    draws, others = _lines(DRAWS), _lines(OTHERS)
    found: list[str] = []
    place: ast.If | None = None
    for statement in _simple_statements(function):
        if NAMES & {node.id for node in ast.walk(statement) if isinstance(node, ast.Name)}:
            found.append(ast.dump(statement))
    for node in ast.walk(function):
        if isinstance(node, ast.If) and [ast.dump(line) for line in node.body] == draws:
            place = node
    if place is None or ast.dump(place.test) != ast.dump(ast.Name("do_sample", ast.Load())):
        return "the lines that draw are not where or what they were"
    if sorted(found) != sorted(draws + others):
        return "the scores are used in another way than they were"
    new = ast.parse(DRAWN).body[0]
    for node in ast.walk(new):
        ast.copy_location(node, place.body[-1])
    place.body = [new]
    return None


def _lines(text: str) -> list[str]:
    return [ast.dump(statement) for statement in ast.parse(text).body]


def _simple_statements(node: ast.AST) -> Iterator[ast.AST]:
    """The statements that hold no others, and the heads (tests, items) of those that do."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.arguments):
            continue
        if isinstance(child, ast.stmt) and hasattr(child, "body"):
            yield from _simple_statements(child)
        else:
            yield child


def _without_values(function: ast.FunctionDef) -> None:
    """Take off what defining the function again would evaluate: annotations and defaults."""
    for node in ast.walk(function.args):
        if isinstance(node, ast.arg):
            node.annotation = None
    function.args.defaults = []
    function.args.kw_defaults = [None] * len(function.args.kwonlyargs)
    function.returns = None


def _compiled(tree: ast.Module, like: CodeType) -> CodeType:
    """The code of the one function of the one class in `tree`, compiled as `like` was."""
    code = compile(tree, like.co_filename, "exec", dont_inherit=True)
    for _ in range(2):
        (code,) = (const for const in code.co_consts if isinstance(const, CodeType))
    return code


def _shape(code: CodeType) -> tuple[object, ...]:
    """What names and constants a function has; its instructions depend on its module's imports, too."""
    constants = [const for const in code.co_consts if not isinstance(const, CodeType)]
    return code.co_name, code.co_names, code.co_varnames, code.co_freevars, constants
