"""Pickled arrays of bytes without Python's pickle: what a file says is data, and nothing in it is ever called.

A pickle is a program for a small stack machine. This one knows dictionaries, lists, tuples, numbers, strings and bytes,
and of all functions and classes those by which numpy's arrays of unsigned bytes are written, which stand here for
themselves: an array is made of bytes that are there, of a shape that they fill, and of nothing else.
"""

from __future__ import annotations

import io
import math
import pickletools
from dataclasses import dataclass
from typing import Any

import numpy as np

from isnas.base.text import shown


def read_pickle(data: bytes) -> Any:
    """The value in a pickle of Python's containers, numbers, strings, and arrays of unsigned bytes.

    Time and memory are proportional to its size. Strings of Python 2 are text, a character for each byte.

    Raises:
        ValueError: when it is not whole or holds anything else; the message says what.
    """
    machine = _Machine(2 * len(data))
    for code, argument, _ in pickletools.genops(io.BytesIO(data)):
        try:
            machine.step(code.name, argument)
        except (IndexError, KeyError, TypeError):
            raise ValueError(f"its {code.name} has nothing to work on") from None
    if len(machine.stack) != 1 or isinstance(machine.stack[0], (_Name, _Array, _Type, _Mark)):
        raise ValueError("it does not hold a value")
    return machine.stack[0]


@dataclass(frozen=True)
class _Name:
    """A function or class that a pickle names; a stand-in, which does what :func:`_call` says."""

    module: str
    name: str


class _Type:
    """In place of numpy's dtype, of bytes alone."""


class _Mark:
    """Where the items of a container begin on the stack."""


class _Array:
    """In place of an array without values, which the pickle fills next."""


_ARRAYS = frozenset(("numpy.core.multiarray", "numpy._core.multiarray"))
_BUFFERS = frozenset(("numpy.core.numeric", "numpy._core.numeric"))
_MARK = _Mark()

#: Operations that put their argument onto the stack.
_VALUES = frozenset(
    (
        *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT", "STRING", "BINSTRING"),
        *("SHORT_BINSTRING", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"),
        *("BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8"),
    )
)
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": (), "MARK": _MARK}
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}


class _Machine:
    """The stack and the memory of a pickle, whose operations are named as in pickletools."""

    def __init__(self, room: int) -> None:
        self.room = room  # bytes that may yet be made of text, and of arrays of them
        self.stack: list[Any] = []
        self.memory: dict[int, Any] = {}

    def step(self, name: str, argument: Any) -> None:
        """Carry out one operation."""
        stack = self.stack
        if name in _VALUES:
            stack.append(argument)
        elif name in ("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"):
            self.memory[len(self.memory) if argument is None else argument] = stack[-1]
        elif name in ("GET", "BINGET", "LONG_BINGET"):
            stack.append(self.memory[argument])
        elif name in _CONSTANTS:
            stack.append(_CONSTANTS[name])
        elif name in ("EMPTY_LIST", "EMPTY_DICT"):
            stack.append([] if name == "EMPTY_LIST" else {})
        elif name in ("LIST", "TUPLE", "DICT"):
            items = self._items()
            stack.append(items if name == "LIST" else tuple(items) if name == "TUPLE" else _set({}, items))
        elif name in _TUPLES:
            stack[-_TUPLES[name] :] = [tuple(stack[-_TUPLES[name] :])]
        elif name in ("APPEND", "APPENDS"):
            items = self._items() if name == "APPENDS" else [stack.pop()]
            list.extend(stack[-1], items)
        elif name in ("SETITEM", "SETITEMS"):
            items = self._items() if name == "SETITEMS" else [stack.pop(-2), stack.pop()]
            _set(stack[-1], items)
        elif name in ("GLOBAL", "STACK_GLOBAL"):
            words = argument.split(" ", 1) if name == "GLOBAL" else [stack.pop(-2), stack.pop()]
            stack.append(_named(*words))
        elif name == "REDUCE":
            arguments = stack.pop()
            stack.append(self._within(_call(stack.pop(), arguments)))
        elif name == "BUILD":
            state = stack.pop()
            stack[-1] = self._within(_built(stack[-1], state))
        elif name not in ("PROTO", "FRAME", "STOP"):
            raise ValueError(f"its {name} has no place in it")

    def _within(self, value: Any) -> Any:
        self.room -= value.nbytes if isinstance(value, np.ndarray) else len(value) if isinstance(value, bytes) else 0
        if self.room < 0:
            raise ValueError("it makes more bytes than it holds")
        return value

    def _items(self) -> list[Any]:
        start = len(self.stack) - 1
        while self.stack[start] is not _MARK:
            start -= 1
        items = self.stack[start + 1 :]
        del self.stack[start:]
        return items


def _built(target: Any, state: Any) -> Any:
    """``target`` with its state; where the pickle names an array once more, it is the one without values."""
    if isinstance(target, _Type):  # the state of a dtype: version, byte order and what bytes do not have
        return target
    if not isinstance(target, _Array):
        raise ValueError("it fills something that is not an array")
    _, shape, kind, by_columns, values = state
    return _array(values, kind, shape, by_columns)


def _set(target: Any, items: list[Any]) -> dict[str, Any]:
    keys, values = items[::2], items[1::2]
    if type(target) is not dict or len(keys) != len(values) or not all(type(key) is str for key in keys):
        raise ValueError("it has a dictionary whose keys are not text")
    target.update(zip(keys, values))
    return target


def _named(module: Any, name: Any) -> _Name:
    known = type(module) is type(name) is str and (
        (module == "numpy" and name in ("dtype", "ndarray"))
        or (module in _ARRAYS and name == "_reconstruct")
        or (module in _BUFFERS and name == "_frombuffer")
        or (module == "_codecs" and name == "encode")
    )
    if not known:
        raise ValueError(f"it names {shown(f'{module}.{name}')[1:-1]}")
    return _Name(module, name)


def _call(target: Any, arguments: Any) -> Any:
    """What stands for calling ``target``: an unfilled array, the type of bytes, bytes from text, a filled array."""
    if not isinstance(target, _Name) or type(arguments) is not tuple:
        raise ValueError("it calls something that is not a function")
    if target.name == "_reconstruct":
        return _Array()
    if target.name == "dtype":
        if type(arguments[0]) is not str or arguments[0] not in ("u1", "|u1"):
            raise ValueError(f"it has an array of {shown(arguments[0])}, not of unsigned bytes")
        return _Type()
    if target.name == "encode":
        text, encoding = arguments
        if type(text) is not str or type(encoding) is not str or encoding != "latin1":
            raise ValueError("it has bytes that are not written as latin1")
        return text.encode("latin-1")
    if target.name == "_frombuffer":
        values, kind, shape, order = arguments
        return _array(values, kind, shape, type(order) is str and order == "F")
    raise ValueError(f"it calls {target.module}.{target.name}")


def _array(values: Any, kind: Any, shape: Any, by_columns: Any) -> np.ndarray:
    if isinstance(values, str):  # a string of Python 2
        values = values.encode("latin-1")
    if not isinstance(kind, _Type) or type(values) not in (bytes, bytearray):
        raise ValueError("it has an array of something other than unsigned bytes")
    if type(shape) is not tuple or not 0 < len(shape) < 5 or not all(type(n) is int and n >= 0 for n in shape):
        raise ValueError(f"it has an array of the shape {shown(shape)}")
    if math.prod(shape) != len(values):
        raise ValueError(f"it has an array of {shown(shape)} in {len(values)} bytes")
    return np.frombuffer(values, np.uint8).reshape(shape, order="F" if by_columns is True else "C")
