"""`llama_sampler_i`, the functions by which llama.cpp calls a sampler, and who is called."""

from __future__ import annotations

import ctypes
import itertools
from typing import Any

import llama_cpp

from .drawing import Drawing

__all__ = ["alive", "new"]

NAME = ctypes.create_string_buffer(b"onedraw")

# The Drawing of each sampler in llama.cpp's memory, until llama.cpp frees it, by the number that
# the sampler has as its `ctx`; never 0, which llama.cpp takes for no state.
_drawings: dict[int, Drawing] = {}
_numbers = itertools.count(1)


def new(drawing: Drawing) -> Any:
    """Make a `llama_sampler` that draws by `drawing`; whoever gets the pointer is to free it."""
    number = next(_numbers)
    _drawings[number] = drawing
    return llama_cpp.llama_sampler_init(ctypes.byref(INTERFACE), number)


def alive(drawing: Drawing) -> bool:
    """Whether a `llama_sampler` draws by `drawing`."""
    return any(known is drawing for known in _drawings.values())


def _of(sampler: Any) -> Drawing:
    return _drawings[sampler.contents.ctx]


def _accept(sampler: Any, token: int) -> None:
    _of(sampler).position += 1


def _apply(sampler: Any, array: Any) -> None:
    drawing = _of(sampler)
    try:
        drawing.select(array.contents)
    except BaseException as error:
        drawing.fail(error, array.contents)
        if not drawing.quiet:
            raise  # which Python reports (sys.unraisablehook), and llama.cpp never sees


def _reset(sampler: Any) -> None:
    _of(sampler).reset()


def _clone(address: int) -> int | None:
    source = llama_cpp.llama_sampler.from_address(address)
    made = new(_drawings[source.ctx].copy())
    return ctypes.cast(made, ctypes.c_void_p).value


def _copy_state(source: Any, target: Any) -> None:
    _of(target).take(_of(source))


# Bound here: a chain may be freed when the interpreter ends and has cleared what modules name.
def _free(sampler: Any, drawings: dict[int, Drawing] = _drawings) -> None:
    drawings.pop(sampler.contents.ctx, None)


def _interface() -> Any:
    """The one `llama_sampler_i` of all samplers: llama.cpp copies states between equal ones alone."""
    made = llama_cpp.llama_sampler_i()
    for name, function in (("accept", _accept), ("apply", _apply), ("reset", _reset)):
        setattr(made, name, getattr(llama_cpp, f"llama_sampler_i_{name}")(function))
    made.free = llama_cpp.llama_sampler_i_free(_free)
    if any(field[0] == "copy_state" for field in made._fields_):  # not in older versions
        made.copy_state = llama_cpp.llama_sampler_i_copy_state(_copy_state)
    # ctypes has no functions of Python that return pointers: these return addresses.
    address_of = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p)
    name_of = address_of(lambda _: ctypes.addressof(NAME))
    made.name = ctypes.cast(name_of, llama_cpp.llama_sampler_i_name)
    made.clone = ctypes.cast(address_of(_clone), llama_cpp.llama_sampler_i_clone)
    # llama.cpp may call it until the process ends: it is never freed.
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(made))
    return made


INTERFACE = _interface()
